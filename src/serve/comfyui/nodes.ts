/** The node classes of this server by name, and what could stand for those it has not. */
import { DejaDitError } from '../../errors/errors.ts';
import { namesFor, samplerNamed, samplers, schedules } from '../../pipelines/request/samplers.ts';
import type { Core } from '../core.ts';
import { cacheNodes } from './cache-nodes.ts';
import { type Input, type Inputs, type NodeClass, NodeRefusal, type Surroundings } from './node.ts';
import type { Value, ValueOf } from './values.ts';

const modelNames: Input = { type: 'COMBO', choices: ({ core }) => core.models.list().map(({ name }) => name) };
const anyOf = (...choices: string[]): Input => ({ type: 'COMBO', choices: () => choices, open: true });
const side: Input = { type: 'INT', default: 512, min: 16, max: 16384, step: 8 };
const batchSize: Input = { type: 'INT', default: 1, min: 1, max: 4096 };

/** A model of the server by its name; a file's ending does not count. */
export function modelCalled(core: Core, name: string): string | undefined {
  return core.models.find(name) ?? core.models.find(name.replace(/\.(safetensors|sft|ckpt|gguf)$/i, ''));
}

const part =
  (type: 'MODEL' | 'CLIP' | 'VAE', input: string) =>
  (inputs: Inputs, { core }: Surroundings) => [{ type, model: modelCalled(core, inputs.text(input))! }];

const emptyLatent: NodeClass = {
  title: 'Empty Latent Image',
  category: 'latent',
  inputs: { width: side, height: side, batch_size: batchSize },
  outputs: [['LATENT', 'LATENT']],
  read: (inputs) => {
    const [width, height, count] = ['width', 'height', 'batch_size'].map((name) => inputs.number(name));
    return [{ type: 'LATENT', from: 'noise', width: width!, height: height!, count: count! }];
  },
};

export const nodeClasses: Readonly<Record<string, NodeClass>> = {
  CheckpointLoaderSimple: {
    title: 'Load Checkpoint',
    category: 'loaders',
    inputs: { ckpt_name: modelNames },
    outputs: [
      ['MODEL', 'MODEL'],
      ['CLIP', 'CLIP'],
      ['VAE', 'VAE'],
    ],
    read: (inputs, { core }) => {
      const model = modelCalled(core, inputs.text('ckpt_name'))!;
      return (['MODEL', 'CLIP', 'VAE'] as const).map((type) => ({ type, model }));
    },
  },
  UNETLoader: {
    title: 'Load Diffusion Model',
    category: 'advanced/loaders',
    inputs: { unet_name: modelNames, weight_dtype: { type: 'COMBO', choices: () => ['default'] } },
    outputs: [['MODEL', 'MODEL']],
    read: part('MODEL', 'unet_name'),
  },
  CLIPLoader: {
    title: 'Load CLIP',
    category: 'advanced/loaders',
    description: 'The text encoders of a model; which they are it says itself.',
    inputs: {
      clip_name: modelNames,
      type: anyOf('flux', 'sd3', 'wan', 'qwen_image', 'lumina2'),
      device: { ...anyOf('default'), optional: true },
    },
    outputs: [['CLIP', 'CLIP']],
    read: part('CLIP', 'clip_name'),
  },
  DualCLIPLoader: {
    title: 'DualCLIPLoader',
    category: 'advanced/loaders',
    description: 'The text encoders of a model; both names are its own.',
    inputs: {
      clip_name1: modelNames,
      clip_name2: modelNames,
      type: anyOf('flux', 'sd3', 'sdxl'),
      device: { ...anyOf('default'), optional: true },
    },
    outputs: [['CLIP', 'CLIP']],
    read: (inputs, { core }) => {
      const [first, second] = [1, 2].map((i) => modelCalled(core, inputs.text(`clip_name${i}`))!);
      if (first !== second) throw new NodeRefusal('clip_name2', `text encoders come with their model: '${first}'`);
      return [{ type: 'CLIP', model: first! }];
    },
  },
  VAELoader: {
    title: 'Load VAE',
    category: 'loaders',
    inputs: { vae_name: modelNames },
    outputs: [['VAE', 'VAE']],
    read: part('VAE', 'vae_name'),
  },
  CLIPTextEncode: {
    title: 'CLIP Text Encode (Prompt)',
    category: 'conditioning',
    inputs: { text: { type: 'STRING', multiline: true }, clip: { type: 'CLIP' } },
    outputs: [['CONDITIONING', 'CONDITIONING']],
    read: (inputs) => [{ type: 'CONDITIONING', model: inputs.link('clip', 'CLIP').model, text: inputs.text('text') }],
  },
  FluxGuidance: {
    title: 'FluxGuidance',
    category: 'advanced/conditioning/flux',
    inputs: {
      conditioning: { type: 'CONDITIONING' },
      guidance: { type: 'FLOAT', default: 3.5, min: 0, max: 100, step: 0.1 },
    },
    outputs: [['CONDITIONING', 'CONDITIONING']],
    read: (inputs) => [{ ...inputs.link('conditioning', 'CONDITIONING'), guidance: inputs.number('guidance') }],
  },
  EmptyLatentImage: emptyLatent,
  EmptySD3LatentImage: { ...emptyLatent, title: 'EmptySD3LatentImage', category: 'latent/sd3' },
  LoadImage: {
    title: 'Load Image',
    category: 'image',
    inputs: { image: { type: 'UPLOAD' } },
    outputs: [
      ['IMAGE', 'IMAGE'],
      ['MASK', 'MASK'],
    ],
    read: (inputs, { uploads }) => [
      { type: 'IMAGE', from: 'file', picture: uploads.get(inputs.text('image'))! },
      { type: 'MASK' },
    ],
  },
  VAEEncode: {
    title: 'VAE Encode',
    category: 'latent',
    inputs: { pixels: { type: 'IMAGE' }, vae: { type: 'VAE' } },
    outputs: [['LATENT', 'LATENT']],
    read: (inputs) => {
      const image = inputs.link('pixels', 'IMAGE');
      if (image.from === 'drawing') throw new NodeRefusal('pixels', oneSampler);
      return [{ type: 'LATENT', from: 'picture', picture: image.picture }];
    },
  },
  KSampler: {
    title: 'KSampler',
    category: 'sampling',
    inputs: {
      model: { type: 'MODEL' },
      seed: { type: 'INT', default: 0, min: 0, max: 2 ** 64 },
      steps: { type: 'INT', default: 20, min: 1, max: 10000 },
      cfg: { type: 'FLOAT', default: 1, min: 0, max: 100, step: 0.1 },
      sampler_name: { type: 'COMBO', choices: ({ core }) => fitting(core, samplers) },
      scheduler: { type: 'COMBO', choices: ({ core }) => fitting(core, schedules) },
      positive: { type: 'CONDITIONING' },
      negative: { type: 'CONDITIONING' },
      latent_image: { type: 'LATENT' },
      denoise: { type: 'FLOAT', default: 1, min: 0, max: 1, step: 0.01 },
    },
    outputs: [['LATENT', 'LATENT']],
    read: sample,
  },
  VAEDecode: {
    title: 'VAE Decode',
    category: 'latent',
    inputs: { samples: { type: 'LATENT' }, vae: { type: 'VAE' } },
    outputs: [['IMAGE', 'IMAGE']],
    read: (inputs) => {
      const latent = inputs.link('samples', 'LATENT');
      if (latent.from !== 'drawing') throw new NodeRefusal('samples', 'only what a KSampler made can be decoded here');
      sameModel(inputs.link('vae', 'VAE'), latent.drawing.model, 'vae');
      return [{ type: 'IMAGE', from: 'drawing', drawing: latent.drawing }];
    },
  },
  SaveImage: {
    title: 'Save Image',
    category: 'image',
    inputs: { images: { type: 'IMAGE' }, filename_prefix: { type: 'STRING', default: 'ComfyUI' } },
    outputs: [],
    isOutput: true,
    read: (inputs) => [inputs.link('images', 'IMAGE')],
  },
  PreviewImage: {
    title: 'Preview Image',
    category: 'image',
    inputs: { images: { type: 'IMAGE' } },
    outputs: [],
    isOutput: true,
    read: (inputs) => [inputs.link('images', 'IMAGE')],
  },
  ...cacheNodes,
};

const oneSampler = 'a graph is one KSampler here; send what it drew back as an upload, in a second prompt';

/** What a KSampler is asked, as options of a pipeline. */
function sample(inputs: Inputs, { core }: Surroundings): readonly Value[] {
  const { model, cache } = inputs.link('model', 'MODEL');
  const positive = sameModel(inputs.link('positive', 'CONDITIONING'), model, 'positive');
  const negative = sameModel(inputs.link('negative', 'CONDITIONING'), model, 'negative');
  const latent = inputs.link('latent_image', 'LATENT');
  if (latent.from === 'drawing') throw new NodeRefusal('latent_image', oneSampler);
  const [seed, steps, cfg] = ['seed', 'steps', 'cfg'].map((name) => inputs.number(name)) as [number, number, number];
  const scheduler = `${inputs.text('sampler_name')} ${inputs.text('scheduler')}`;
  const now = core.models.state(model);
  if (now?.state === 'loaded') refuse('sampler_name', () => samplerNamed(scheduler, now.info.levels));
  const options = {
    prompt: positive.text,
    ...(cfg === 1 ? {} : { negativePrompt: negative.text }),
    seed: Number.isSafeInteger(seed) ? seed : BigInt(seed).toString(),
    scheduler,
    ...guidance(core, { model, cfg, distilled: positive.guidance }),
    ...start(latent, { steps, denoise: inputs.number('denoise') }),
    ...(cache ? { cache: cache(steps) } : {}),
  };
  return [{ type: 'LATENT', from: 'drawing', drawing: { node: inputs.id, model, options } }];
}

/** `cfg` is classifier-free guidance, and FluxGuidance the scale that a model was distilled with; some models have one option for both. */
function guidance(core: Core, asked: { model: string; cfg: number; distilled: number | undefined }): object {
  const { model, cfg, distilled } = asked;
  const now = core.models.state(model);
  const known: object = now?.state === 'loaded' ? now.info.schema.properties : {};
  const both = 'trueCfgScale' in known || (now?.state !== 'loaded' && distilled !== undefined);
  if (!both && distilled !== undefined)
    throw new NodeRefusal('positive', `'${model}' has no distilled guidance; leave out FluxGuidance and set cfg`);
  if (!both) return { guidanceScale: cfg };
  return {
    ...(distilled === undefined ? {} : { guidanceScale: distilled }),
    ...(cfg === 1 ? {} : { trueCfgScale: cfg }),
  };
}

/** What steps start from. With `denoise` below 1 `steps` are the last of a longer schedule, as ComfyUI has it. */
function start(
  latent: Exclude<ValueOf<'LATENT'>, { from: 'drawing' }>,
  { steps, denoise }: { steps: number; denoise: number },
): object {
  if (latent.from === 'noise') {
    if (denoise !== 1) throw new NodeRefusal('denoise', 'must be 1 where there is no picture to start from');
    const { width, height, count } = latent;
    return { width, height, numImages: count, numInferenceSteps: steps };
  }
  if (denoise === 0) throw new NodeRefusal('denoise', 'must be above 0: nothing would be drawn');
  const { bytes, width, height } = latent.picture;
  const size = { width: Math.max(16, width - (width % 16)), height: Math.max(16, height - (height % 16)) };
  const all = Math.max(steps, Math.floor(steps / denoise));
  // Half a step less, so that no rounding makes it one more.
  const strength = all === steps ? 1 : (steps - 0.5) / all;
  return { image: bytes, ...size, numInferenceSteps: all, strength };
}

function sameModel<V extends { model: string }>(value: V, model: string, input: string): V {
  if (value.model === model) return value;
  throw new NodeRefusal(input, `is of '${value.model}': parts of different models cannot be mixed; load '${model}'`);
}

function refuse(input: string, check: () => unknown): void {
  try {
    check();
  } catch (error) {
    throw error instanceof DejaDitError ? new NodeRefusal(input, error.message) : error;
  }
}

/** Those that some model of the server can run with. */
function fitting(core: Core, table: Parameters<typeof namesFor>[0]): string[] {
  const levels = core.models
    .list()
    .flatMap(({ now }) => (now.state === 'loaded' ? [now.info.levels] : (['flows', 'noise'] as const)));
  return [...new Set(levels.flatMap((kind) => namesFor(table, kind)))];
}

/** What to do without a class that this server has not. */
export const standIns: Readonly<Record<string, string>> = {
  LoraLoader: 'start the server with --lora-path, which puts one on the model',
  LoraLoaderModelOnly: 'start the server with --lora-path, which puts one on the model',
  KSamplerAdvanced: 'KSampler',
  SamplerCustomAdvanced: 'KSampler',
  SamplerCustom: 'KSampler',
  VAEDecodeTiled: 'VAEDecode',
  ModelSamplingFlux: 'leave it out: the shift is the model’s own',
  ModelSamplingSD3: 'leave it out: the shift is the model’s own',
  ModelSamplingAuraFlow: 'leave it out: the shift is the model’s own',
  EmptyHunyuanLatentVideo: 'videos are drawn at /v1/videos',
  SaveAnimatedWEBP: 'videos are drawn at /v1/videos',
  CacheDiT_LTX2_Optimizer: 'DejaDitCache',
  WanCacheOptimizer: 'DejaDitCache',
  LazyCache: 'EasyCache',
  TeaCache: 'DejaDitCache',
  TripleCLIPLoader: 'CheckpointLoaderSimple',
  CLIPTextEncodeFlux: 'CLIPTextEncode and FluxGuidance',
  ConditioningZeroOut: 'CLIPTextEncode with an empty text',
};
