/**
 * FLUX.1: text, and optionally a starting image, to image. Diffusers' `FluxPipeline` and `FluxImg2ImgPipeline` in one, with
 * their defaults, the same noise for a seed and the same order of draws.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { warn } from '../../errors/warnings.ts';
import { type Image, imagesFromTensor } from '../../images/image.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { GraphModel } from '../../models/graph-model.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { calculateShift } from '../../schedulers/flow-shift.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import type { Tokenizer } from '../../tokenizers/tokenizer.ts';
import { denoise, type GuidanceBranch, guide } from '../denoise.ts';
import { ComponentLoader } from '../load.ts';
import { NoiseSource } from '../noise.ts';
import type { GenerateOptions, GenerateResult } from '../options.ts';
import type { GenerationDefaults, Pipeline, PipelineClass } from '../pipeline.ts';
import { affine, idTensor, linspace, repeatRows, requireShape } from '../tensors.ts';
import { type FluxSettings, fluxSettings } from './flux-settings.ts';
import { imageIds, packLatents, textIds, unpackLatents } from './packing.ts';

interface Components {
  transformer: TransformerModel;
  clip: GraphModel;
  t5: GraphModel;
  clipTokenizer: Tokenizer;
  t5Tokenizer: Tokenizer;
  autoencoder: Autoencoder;
  scheduler: Scheduler;
}

export class FluxPipeline implements Pipeline {
  readonly className = 'FluxPipeline';

  constructor(
    readonly path: string,
    private readonly defaults: GenerationDefaults,
    private readonly components: Components,
  ) {}

  get programs() {
    return this.components.transformer.programs;
  }

  get transformers() {
    return { transformer: this.components.transformer };
  }

  /**
   * Generates images.
   * @throws DejaDitError naming the option that cannot be used; `ABORTED` if the signal fired
   */
  async generate(options: GenerateOptions): Promise<GenerateResult> {
    const { transformer, autoencoder, t5Tokenizer } = this.components;
    const settings = fluxSettings(options, this.defaults, {
      guidanceEmbedding: transformer.config['guidance_embeds'] === true,
      sampleSize: Number(autoencoder.model.config['sample_size'] ?? 1024),
      spatialScale: autoencoder.spatialScale,
      maxTextTokens: t5Tokenizer.modelMaxLength,
    });
    const { signal, onStep, outputType = 'image' } = options;
    const noise = new NoiseSource(options.seed, settings.prompts.length * settings.numImages);

    const begin = performance.now();
    const branches = await this.encodePrompts(settings, signal);
    const encoded = performance.now();
    const start = await this.start(settings, noise, options);
    const { latents, times } = await denoise({
      modelAt: () => transformer,
      ...start,
      branches,
      inputsAt: callInputs(settings),
      combine: ([cond, uncond]) => (uncond ? guide(cond!, uncond, settings.trueCfgScale) : cond!),
      preview: (tokens) => this.decode(tokens, settings),
      generator: noise.generators[0],
      onStep,
      signal,
    });
    const denoised = performance.now();
    const images = outputType === 'latent' ? [] : await this.decode(latents, settings, signal);
    const end = performance.now();
    return {
      images,
      latents,
      seed: noise.seed,
      timings: {
        encode: encoded - begin,
        denoise: denoised - encoded,
        decode: end - denoised,
        total: end - begin,
        steps: times,
      },
    };
  }

  async dispose(): Promise<void> {
    const { transformer, clip, t5, autoencoder } = this.components;
    await Promise.all([transformer.dispose(), clip.dispose(), t5.dispose(), autoencoder.model.dispose()]);
  }

  /** One guidance branch for the prompts, and one for the negative prompts where guidance is on. */
  private async encodePrompts(settings: FluxSettings, signal?: AbortSignal): Promise<GuidanceBranch[]> {
    const { prompts, negativePrompts, maxSequenceLength, numImages } = settings;
    const branch = async (name: string, texts: readonly string[]): Promise<GuidanceBranch> => ({
      name,
      inputs: {
        pooled_projections: repeatRows(await this.encodeClip(texts, signal), numImages),
        encoder_hidden_states: repeatRows(await this.encodeT5(texts, maxSequenceLength, signal), numImages),
      },
    });
    const branches = [await branch('cond', prompts)];
    if (negativePrompts) branches.push(await branch('uncond', negativePrompts));
    return branches;
  }

  /** CLIP's pooled embedding [B, D]. CLIP reads 77 tokens; T5 sees the whole prompt, so a cut here is no loss to warn of. */
  private async encodeClip(texts: readonly string[], signal?: AbortSignal): Promise<Tensor> {
    const { clip, clipTokenizer } = this.components;
    const { inputIds } = clipTokenizer.tokenize([...texts], { padding: 'max_length', truncation: true });
    const { pooler_output } = await clip.call('forward', { input_ids: idTensor(inputIds) }, signal);
    return pooler_output!;
  }

  /** T5's hidden states [B, maxLength, D], padding included: FLUX was trained without a text mask. */
  private async encodeT5(texts: readonly string[], maxLength: number, signal?: AbortSignal): Promise<Tensor> {
    const { t5, t5Tokenizer } = this.components;
    const { inputIds, truncated } = t5Tokenizer.tokenize([...texts], {
      padding: 'max_length',
      truncation: true,
      maxLength,
    });
    for (const rest of truncated) {
      if (rest) warn(`the prompt is longer than maxSequenceLength ${maxLength}; this part is ignored: '${rest}'`);
    }
    const { last_hidden_state } = await t5.call('forward', { input_ids: idTensor(inputIds) }, signal);
    return last_hidden_state!;
  }

  /** Where denoising starts: pure noise, or the starting image noised to the level that `strength` asks for. */
  private async start(settings: FluxSettings, noise: NoiseSource, options: GenerateOptions) {
    const { prompts, numImages, latentHeight, latentWidth, image } = settings;
    const { autoencoder } = this.components;
    const scheduler = this.schedule(settings, options.sigmas);
    const shape = [prompts.length * numImages, autoencoder.latentChannels, latentHeight, latentWidth];
    if (image) {
      const timesteps = lateTimesteps(scheduler, settings);
      const clean = await this.encodeImage(image, settings, noise);
      const noised = scheduler.addNoise({ sample: clean, noise: noise.randn(shape), timestep: timesteps[0]! });
      return { scheduler, timesteps, latents: packLatents(noised) };
    }
    const { latents: given } = options;
    if (!given) return { scheduler, latents: packLatents(noise.randn(shape)) };
    const [batch, channels] = shape as [number, number];
    return {
      scheduler,
      latents: requireShape(given, [batch, (latentHeight * latentWidth) / 4, channels * 4], 'latents'),
    };
  }

  private schedule(
    { steps, latentHeight, latentWidth }: FluxSettings,
    sigmas: readonly number[] | undefined,
  ): Scheduler {
    const scheduler = this.components.scheduler.clone();
    const { config } = scheduler;
    const mu = calculateShift({
      imageSeqLen: (latentHeight * latentWidth) / 4,
      baseSeqLen: Number(config['base_image_seq_len'] ?? 256),
      maxSeqLen: Number(config['max_image_seq_len'] ?? 4096),
      baseShift: Number(config['base_shift'] ?? 0.5),
      maxShift: Number(config['max_shift'] ?? 1.15),
    });
    scheduler.setTimesteps({ sigmas: sigmas ?? linspace(1, 1 / steps, steps), mu });
    return scheduler;
  }

  /** Latents of a starting image as the transformer sees them: [B, C, h, w]. */
  private async encodeImage(
    image: Image,
    { width, height, prompts, numImages }: FluxSettings,
    noise: NoiseSource,
  ): Promise<Tensor> {
    const { autoencoder } = this.components;
    const pixels = (await image.resize(width, height)).toTensor();
    const latents = await autoencoder.encode(repeatRows(pixels, prompts.length * numImages), {
      generator: noise.generators[0],
    });
    const { scalingFactor, shiftFactor } = autoencoder;
    return affine(affine(latents, { shift: -shiftFactor }), { scale: scalingFactor });
  }

  private async decode(
    tokens: Tensor,
    { latentHeight, latentWidth }: FluxSettings,
    signal?: AbortSignal,
  ): Promise<Image[]> {
    const { autoencoder } = this.components;
    const latents = unpackLatents(tokens, latentHeight, latentWidth);
    const raw = affine(latents, { scale: 1 / autoencoder.scalingFactor, shift: autoencoder.shiftFactor });
    return imagesFromTensor(await autoencoder.decode(raw, { signal }));
  }
}

/** What a model call gets besides its branch's embeddings. */
function callInputs(settings: FluxSettings): (latents: Tensor, timestep: number) => ForwardInputs {
  const { latentHeight, latentWidth, maxSequenceLength, guidanceScale } = settings;
  const img_ids = imageIds(latentHeight / 2, latentWidth / 2);
  const txt_ids = textIds(maxSequenceLength);
  return (latents, timestep) => {
    const perImage = (value: number) => floatTensor(new Float32Array(latents.shape[0]!).fill(value));
    return {
      hidden_states: latents,
      timestep: perImage(Math.fround(timestep) / 1000),
      img_ids,
      txt_ids,
      ...(guidanceScale === undefined ? {} : { guidance: perImage(guidanceScale) }),
    };
  };
}

/** The last `strength` share of the schedule. */
function lateTimesteps(scheduler: Scheduler, { steps, strength }: FluxSettings): readonly number[] {
  const first = Math.floor(steps - Math.min(steps * strength, steps));
  const timesteps = scheduler.timesteps.slice(first);
  if (timesteps.length === 0)
    throw new DejaDitError('INVALID_ARGUMENT', `${strength} of ${steps} steps leaves no step to run`, {
      path: 'strength',
    });
  scheduler.setBeginIndex(first);
  return timesteps;
}

export const fluxPipelineClass: PipelineClass = {
  classNames: ['FluxPipeline', 'FluxImg2ImgPipeline'],
  async load(folder, defaults, options) {
    const load = new ComponentLoader(folder, options);
    // The transformer last: whatever is wrong with the small parts shows before the large one is read.
    const scheduler = await load.scheduler();
    const clipTokenizer = await load.tokenizer('tokenizer');
    const t5Tokenizer = await load.tokenizer('tokenizer_2');
    const clip = await load.textEncoder('text_encoder');
    const t5 = await load.textEncoder('text_encoder_2');
    const autoencoder = await load.autoencoder();
    const transformer = await load.transformer();
    return new FluxPipeline(folder.path, defaults, {
      transformer,
      clip,
      t5,
      clipTokenizer,
      t5Tokenizer,
      autoencoder,
      scheduler,
    });
  },
};
