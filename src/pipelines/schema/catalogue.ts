/**
 * All options that pipelines have: what their values are, what they are for, and their flag on a command line. Which of them a pipeline
 * takes, with which defaults and within which bounds, is its own business.
 */
import * as z from 'zod';
import { anyObject } from '../../errors/arguments.ts';
import {
  aFunction,
  type Bounds,
  choice,
  embeddings,
  expecting,
  flag,
  flagOrNumber,
  generators,
  imageLists,
  images,
  integer,
  integerOrList,
  interval,
  labels,
  layers,
  memory,
  number,
  numberOrList,
  numbers,
  pair,
  seeds,
  signal,
  template,
  tensor,
  text,
  texts,
} from './kinds.ts';
import type { GenerateOptions, OptionName } from './options.ts';

export const optionGroups = ['What to draw', 'Guidance', 'Size and number', 'Schedule', 'Start', 'Request'] as const;

export interface Option<Value> {
  group: (typeof optionGroups)[number];
  /** What it is for, in a line. Units where there are any. */
  help: string;
  /** What its values are, within bounds. */
  value(bounds: Bounds): z.ZodType<Value, unknown>;
  /** Unless a pipeline sets others. */
  bounds?: Bounds;
  /** Where pipelines set none of their own. */
  default?: Value;
  /** Diffusers' names, beside the same one in snake_case. */
  aliases?: readonly string[];
  /** What null means, where that is not the default. */
  nullIs?: Value;
  /** As commander takes it. */
  flag?: string;
}

type Catalogue = { readonly [Name in OptionName]-?: Option<NonNullable<GenerateOptions[Name]>> };

const draw = 'What to draw';

export const catalogue: Catalogue = {
  prompt: { group: draw, value: texts, help: 'what to draw: a text for all pictures, or a list with one for each' },
  prompt2: {
    group: draw,
    value: texts,
    flag: '--prompt-2 <text>',
    help: 'what the second text encoder reads (default: the prompt)',
  },
  prompt3: {
    group: draw,
    value: texts,
    flag: '--prompt-3 <text>',
    help: 'what the third text encoder reads (default: the prompt)',
  },
  prompt4: {
    group: draw,
    value: texts,
    flag: '--prompt-4 <text>',
    help: 'what the fourth text encoder reads (default: the prompt)',
  },
  negativePrompt: {
    group: draw,
    value: texts,
    flag: '--negative <text>',
    help: 'what not to draw, for classifier-free guidance',
  },
  negativePrompt2: {
    group: draw,
    value: texts,
    flag: '--negative-2 <text>',
    help: 'the same for the second text encoder (default: the first)',
  },
  negativePrompt3: {
    group: draw,
    value: texts,
    flag: '--negative-3 <text>',
    help: 'the same for the third text encoder (default: the first)',
  },
  negativePrompt4: {
    group: draw,
    value: texts,
    flag: '--negative-4 <text>',
    help: 'the same for the fourth text encoder (default: the first)',
  },
  classLabels: { group: draw, value: labels, help: 'classes to draw: numbers, or names that the checkpoint lists' },
  promptEmbeds: { group: draw, value: embeddings, help: 'what the text encoder made of the prompt, in its place' },
  pooledPromptEmbeds: { group: draw, value: tensor, help: 'its pooled embedding [prompts, width]' },
  promptEmbedsT5: { group: draw, value: tensor, help: 'what T5 made of the prompt [prompts, tokens, width]' },
  promptEmbedsLlama3: {
    group: draw,
    value: tensor,
    help: "what Llama's layers made of the prompt [layers, prompts, tokens, width]",
  },
  promptAttentionMask: { group: draw, value: tensor, help: '1 for tokens of promptEmbeds, 0 for padding' },
  promptEmbedsMask: { group: draw, value: tensor, help: '1 for tokens of promptEmbeds, 0 for padding' },
  promptEmbeds2: { group: draw, value: tensor, help: 'what the second text encoder made of words to be written' },
  promptEmbedsMask2: { group: draw, value: tensor, help: '1 for tokens of promptEmbeds2, 0 for padding' },
  negativePromptEmbeds2: { group: draw, value: tensor, help: 'as promptEmbeds2, of the negative prompt' },
  negativePromptEmbedsMask2: { group: draw, value: tensor, help: 'as promptEmbedsMask2, of the negative prompt' },
  promptEmbedsQwen: { group: draw, value: tensor, help: 'what Qwen made of the prompt, in its place' },
  promptEmbedsClip: { group: draw, value: tensor, help: 'the summary that CLIP made of it [prompts, width]' },
  negativePromptEmbedsQwen: { group: draw, value: tensor, help: 'as promptEmbedsQwen, of the negative prompt' },
  negativePromptEmbedsClip: { group: draw, value: tensor, help: 'as promptEmbedsClip, of the negative prompt' },
  negativePromptEmbeds: { group: draw, value: embeddings, help: 'as promptEmbeds, of the negative prompt' },
  negativePooledPromptEmbeds: { group: draw, value: tensor, help: 'as pooledPromptEmbeds, of the negative prompt' },
  negativePromptEmbedsT5: { group: draw, value: tensor, help: 'as promptEmbedsT5, of the negative prompt' },
  negativePromptEmbedsLlama3: { group: draw, value: tensor, help: 'as promptEmbedsLlama3, of the negative prompt' },
  negativePromptAttentionMask: { group: draw, value: tensor, help: 'as promptAttentionMask, of the negative prompt' },
  negativePromptEmbedsMask: { group: draw, value: tensor, help: 'as promptEmbedsMask, of the negative prompt' },
  maxSequenceLength: {
    group: draw,
    value: integer,
    bounds: { min: 1, max: 8192 },
    flag: '--max-sequence-length <n>',
    help: 'tokens of the prompt that are read',
  },
  promptWeighting: {
    group: draw,
    value: () => choice(['comfyui']),
    flag: '--prompt-weighting <how>',
    help: 'comfyui: parentheses in prompts are weights, as in (red:1.3) apple (default: they are text)',
  },
  tokenizerMaxLength: {
    group: draw,
    value: integer,
    bounds: { min: 1, max: 8192 },
    flag: '--tokenizer-max-length <n>',
    help: 'tokens of the prompt that are read',
  },
  skipTextCleaning: {
    group: draw,
    value: flag,
    flag: '--skip-text-cleaning',
    help: 'leave prompts as they are, but for damage from copying',
  },
  cleanCaption: {
    group: draw,
    value: flag,
    flag: '--clean-caption <on|off>',
    help: 'take out of prompts what scraped captions have beside what they say: tags, addresses, numbers, names of files',
  },
  clipSkip: {
    group: draw,
    value: integer,
    bounds: { min: 0, max: 100 },
    flag: '--clip-skip <n>',
    help: 'CLIP layers to leave out at the end, besides the last',
  },

  systemPrompt: {
    group: draw,
    value: text,
    flag: '--system-prompt <text>',
    help: 'what the language model that reads the prompt is told before it',
  },
  promptTemplate: {
    group: draw,
    value: template,
    help: 'what the prompt is put into in place of {}, and how many tokens before it are read, but not passed on',
  },
  complexHumanInstruction: {
    group: draw,
    value: texts,
    flag: '--complex-human-instruction <text>',
    help: 'what stands before the prompt: lines of an instruction to enhance it; null or an empty text for nothing',
    nullIs: '',
  },
  textEncoderOutLayers: {
    group: draw,
    value: layers,
    flag: '--text-encoder-out-layers <list>',
    help: 'hidden states of the text encoder that are read, side by side',
  },
  guidanceScale: {
    group: 'Guidance',
    value: number,
    bounds: { min: 0, max: 1000 },
    flag: '-g, --guidance <x>',
    help: 'how closely to follow the prompt: the scale that the model was distilled with, else classifier-free guidance',
  },
  distilledGuidanceScale: {
    group: 'Guidance',
    value: number,
    bounds: { min: 0, max: 1000 },
    flag: '--distilled-guidance <x>',
    help: 'the scale that a distilled model is told, where guidanceScale is the classifier-free one',
  },
  guidanceScale2: {
    group: 'Guidance',
    value: number,
    bounds: { min: 0, max: 1000 },
    flag: '--guidance-2 <x>',
    help: 'guidance scale of the second of two experts (default: that of the first)',
  },
  trueCfgScale: {
    group: 'Guidance',
    value: number,
    bounds: { min: 0, max: 100 },
    flag: '--true-cfg-scale <x>',
    help: 'classifier-free guidance of models that may have a distilled scale too; costs a second call per step',
  },
  cfgNormalization: {
    group: 'Guidance',
    value: flagOrNumber,
    bounds: { min: 0, max: 1000 },
    flag: '--cfg-normalization <x>',
    help: 'largest norm of the guided output relative to the unguided; false or 0 for no limit, true for 1',
  },
  enableCfgRenorm: {
    group: 'Guidance',
    value: flag,
    flag: '--no-cfg-renorm',
    help: 'bring what guidance makes longer back to the length that it has without',
  },
  cfgRenormMin: {
    group: 'Guidance',
    value: number,
    bounds: { min: 0, max: 1 },
    flag: '--cfg-renorm-min <x>',
    help: 'least factor by which it is brought back',
  },
  cfgTruncRatio: {
    group: 'Guidance',
    value: number,
    bounds: { min: 0, max: 1 },
    flag: '--cfg-trunc-ratio <x>',
    help: 'share of the steps after which guidance ends, and with it the second call',
  },
  cfgTruncation: {
    group: 'Guidance',
    value: number,
    bounds: { min: 0, max: 1 },
    flag: '--cfg-truncation <x>',
    help: 'share of the way from noise to image after which guidance ends',
  },

  normalize: {
    group: 'Guidance',
    value: flag,
    flag: '--normalize',
    help: 'bring the spread of the guided output back to that of the unguided, nearly',
  },
  clipValue: {
    group: 'Guidance',
    value: number,
    bounds: { min: 0, max: 1000 },
    flag: '--clip-value <x>',
    help: 'largest value that the model may predict, either sign; 0 for no limit',
  },
  useDynamicCfg: {
    group: 'Guidance',
    value: flag,
    flag: '--dynamic-guidance',
    help: 'let guidance grow from nearly none to the scale as the noise goes',
  },
  guidanceRescale: {
    group: 'Guidance',
    value: number,
    bounds: { min: 0, max: 1 },
    flag: '--guidance-rescale <x>',
    help: 'how far the spread of the guided output is brought back to that of the unguided',
  },
  guidanceInterval: {
    group: 'Guidance',
    value: interval,
    flag: '--guidance-interval <list>',
    help: 'shares of the steps between which there is guidance, as 0.1,0.8; elsewhere its second call is saved',
  },
  height: {
    group: 'Size and number',
    value: integer,
    bounds: { min: 1, max: 16384 },
    flag: '--size <WxH>',
    help: 'height in pixels',
  },
  width: {
    group: 'Size and number',
    value: integer,
    bounds: { min: 1, max: 16384 },
    flag: '--size <WxH>',
    help: 'width in pixels',
  },
  frameRate: {
    group: 'Size and number',
    value: number,
    bounds: { min: 1, max: 240 },
    flag: '--frame-rate <x>',
    help: 'frames per second of a video',
  },
  originalSize: {
    group: 'Size and number',
    value: pair,
    flag: '--original-size <list>',
    help: 'height and width that the model is told a picture had before it was cut (default: those drawn)',
  },
  targetSize: {
    group: 'Size and number',
    value: pair,
    flag: '--target-size <list>',
    help: 'height and width that the model is told are drawn (default: those drawn)',
  },
  cropsCoordsTopLeft: {
    group: 'Size and number',
    value: pair,
    default: [0, 0],
    flag: '--crops-coords-top-left <list>',
    help: 'top and left edge at which the model is told a picture was cut',
  },
  numFrames: {
    group: 'Size and number',
    value: integer,
    bounds: { min: 1, max: 10000 },
    flag: '--num-frames <n>',
    help: 'frames of a video',
  },
  outputResolution: {
    group: 'Size and number',
    value: integer,
    bounds: { min: 32, max: 16384 },
    flag: '--output-resolution <n>',
    help: 'edge in pixels of a square as large as the picture, where height and width are not given',
  },
  useResolutionBinning: {
    group: 'Size and number',
    value: flag,
    flag: '--no-resolution-binning',
    help: 'draw at the nearest size that the model was trained at, then resize and crop',
  },
  numImages: {
    group: 'Size and number',
    value: integer,
    bounds: { min: 1, max: 1024 },
    default: 1,
    aliases: ['numImagesPerPrompt', 'numVideosPerPrompt'],
    flag: '-n, --num-images <n>',
    help: 'pictures or videos per prompt',
  },

  numInferenceSteps: {
    group: 'Schedule',
    value: integer,
    bounds: { min: 1, max: 10000 },
    flag: '--steps <n>',
    help: 'denoising steps',
  },
  scheduler: {
    group: 'Schedule',
    value: () =>
      z.union([z.string(), anyObject], {
        error: expecting("expected a scheduler's class name, or fields of its config"),
      }),
    flag: '--scheduler <name>',
    help: "class of Diffusers to step with, or fields of its config, in place of the checkpoint's",
  },
  sigmas: {
    group: 'Schedule',
    value: numbers,
    flag: '--sigmas <list>',
    help: "noise levels instead of the scheduler's spacing, the highest first; as many steps are run",
  },
  timesteps: {
    group: 'Schedule',
    value: numbers,
    flag: '--timesteps <list>',
    help: "times instead of the scheduler's spacing; as many steps are run",
  },

  maxTimesteps: {
    group: 'Schedule',
    value: number,
    bounds: { min: 0, max: 1.5708 },
    flag: '--max-timesteps <x>',
    help: 'the angle that the schedule starts at: pi/2 is pure noise',
  },
  intermediateTimesteps: {
    group: 'Schedule',
    value: number,
    bounds: { min: 0, max: 1.5708 },
    flag: '--intermediate-timesteps <x>',
    help: 'the angle between the two steps of a request of two',
  },
  decodeTimestep: {
    group: 'Schedule',
    value: numberOrList,
    bounds: { min: 0, max: 1 },
    flag: '--decode-timestep <list>',
    help: 'how much noise a decoder that removes noise is told of, or that of each video',
  },
  decodeNoiseScale: {
    group: 'Schedule',
    value: numberOrList,
    bounds: { min: 0, max: 1 },
    flag: '--decode-noise-scale <list>',
    help: 'share of fresh noise that latents get before such a decoder, or that of each video (default: decodeTimestep)',
  },
  seed: {
    group: 'Start',
    value: seeds,
    flag: '-s, --seed <n>',
    help: 'of the initial noise; a list gives each picture its own (default: random)',
  },
  generator: {
    group: 'Start',
    value: generators,
    help: 'source of noise in place of seed: a Generator, or one for each picture',
  },
  latents: { group: 'Start', value: tensor, help: 'initial noise instead of a seeded draw' },
  image: {
    group: 'Start',
    value: images,
    flag: '--image <file>',
    help: 'starting image, resized to width x height; several take turns',
  },
  maskImage: {
    group: 'Start',
    value: images,
    flag: '--mask-image <file>',
    help: 'what of the starting image is drawn anew: where it is white',
  },
  lastImage: {
    group: 'Start',
    value: images,
    flag: '--last-image <file>',
    help: 'what a video ends with, resized to width x height',
  },
  video: {
    group: 'Start',
    value: images,
    flag: '--video <file...>',
    help: 'frames of the video to start from, resized to width x height',
  },
  controlImage: {
    group: 'Start',
    value: imageLists,
    flag: '--control-image <file...>',
    help: 'what a ControlNet sees, resized to width x height; several take turns, or are for several ControlNets',
  },
  controlMask: {
    group: 'Start',
    value: images,
    flag: '--control-mask <file>',
    help: 'what of that is drawn anew: where it is white, for ControlNets that inpaint',
  },
  controlMode: {
    group: 'Start',
    value: integerOrList,
    bounds: { min: 0, max: 1000 },
    flag: '--control-mode <list>',
    help: 'which kind of picture that is, for a ControlNet that knows several',
  },
  controlnetConditioningScale: {
    group: 'Start',
    value: numberOrList,
    bounds: { min: 0, max: 100 },
    flag: '--controlnet-scale <list>',
    help: 'how strongly the ControlNet acts, or each of several',
  },
  controlGuidanceStart: {
    group: 'Start',
    value: numberOrList,
    bounds: { min: 0, max: 1 },
    flag: '--control-start <list>',
    help: 'share of the steps after which the ControlNet acts, or each of several',
  },
  controlGuidanceEnd: {
    group: 'Start',
    value: numberOrList,
    bounds: { min: 0, max: 1 },
    flag: '--control-end <list>',
    help: 'share of the steps after which it no longer does, or each of several',
  },
  maxArea: {
    group: 'Size and number',
    value: integer,
    bounds: { min: 256, max: 16384 ** 2 },
    flag: '--max-area <n>',
    help: 'pixels that pictures are brought to, whatever width and height say of their ratio',
  },
  conditionArea: {
    group: 'Size and number',
    value: integer,
    bounds: { min: 256, max: 16384 ** 2 },
    flag: '--condition-area <n>',
    help: 'pixels that pictures are brought to for the model that reads the prompt',
  },
  autoResize: {
    group: 'Start',
    value: flag,
    flag: '--no-auto-resize',
    help: 'bring the image to the nearest size that the model was trained at',
  },
  strength: {
    group: 'Start',
    value: number,
    bounds: { min: 0, max: 1 },
    flag: '--strength <x>',
    help: 'how much of the schedule runs on the starting image: 1 all of it, near 0 almost nothing',
  },

  outputType: {
    group: 'Request',
    value: () => choice(['image', 'latent', 'pil']),
    default: 'image',
    help: 'image, or pil: pictures; latent: the final latents alone',
  },
  cache: {
    group: 'Request',
    value: () =>
      z.union([z.literal(false), anyObject], {
        error: expecting('expected settings as enableCache takes them, or false'),
      }),
    help: 'settings of a cache for this request, as enableCache takes them, or false for none',
  },
  loras: {
    group: 'Request',
    value: () =>
      z.record(z.string(), number({}), { error: expecting('expected strengths by name, as in { style: 0.8 }') }),
    help: 'strengths of loaded LoRAs by name; others do not apply (default: all, as loaded)',
  },
  maxMemory: {
    group: 'Request',
    value: memory,
    flag: '--max-memory <size>',
    help: "memory that may be needed besides the weights: bytes, or as 512MiB or 4GiB (default: the machine's)",
  },
  callbackOnStepEnd: {
    group: 'Request',
    value: () => aFunction<NonNullable<GenerateOptions['callbackOnStepEnd']>>(),
    help: "Diffusers' callback: called after every step with the pipeline, the step, its time and { latents }; may return other latents",
  },
  onStep: {
    group: 'Request',
    value: () => aFunction<NonNullable<GenerateOptions['onStep']>>(),
    help: 'called after every step; may return other latents',
  },
  signal: { group: 'Request', value: signal, help: 'an AbortSignal that ends the request between two steps' },
};

/** Options of every pipeline. */
export const commonOptions = [
  'numInferenceSteps',
  'numImages',
  'scheduler',
  'seed',
  'generator',
  'latents',
  'outputType',
  'cache',
  'loras',
  'maxMemory',
  'callbackOnStepEnd',
  'onStep',
  'signal',
] as const satisfies readonly OptionName[];

const withControlNet =
  "of pipelines with a ControlNet: load FLUX.1, Stable Diffusion 3 or Qwen-Image with controlnet: 'folder or repository'";
const withoutIpAdapter =
  'there are no IP-adapters here: FluxKontextPipeline draws from a picture, and a ControlNet along one';

/** Arguments of Diffusers for what is said in another way here. */
export const elsewhere: Readonly<Record<string, string>> = {
  attentionKwargs: 'strengths of LoRAs are set by loras',
  jointAttentionKwargs: 'strengths of LoRAs are set by loras',
  returnDict: 'results are objects',
  enablePromptRewrite: 'prompts are drawn as they are written; pass false',
  usePe: 'prompts are drawn as they are written; pass false',
  controlImage: withControlNet,
  controlMask: withControlNet,
  controlMode: withControlNet,
  controlnetConditioningScale: withControlNet,
  controlGuidanceStart: withControlNet,
  controlGuidanceEnd: withControlNet,
  ipAdapterImage: withoutIpAdapter,
  ipAdapterImageEmbeds: withoutIpAdapter,
  negativeIpAdapterImage: withoutIpAdapter,
  negativeIpAdapterImageEmbeds: withoutIpAdapter,
};

/** Arguments of Diffusers that say what is the case anyway, and that are no options here: they are taken and change nothing. */
export const neutral: Readonly<Record<string, (value: unknown) => boolean>> = {
  cleanCaption: (value) => value === false,
  returnDict: (value) => value === true,
  eta: (value) => value === 0,
  useDynamicCfg: (value) => value === false,
  usePe: (value) => value === false,
  useKvCache: (value) => typeof value === 'boolean',
  doPatching: (value) => value === false,
  enablePromptRewrite: (value) => value === false,
  ipAdapterImage: (value) => value === null,
  ipAdapterImageEmbeds: (value) => value === null,
  negativeIpAdapterImage: (value) => value === null,
  negativeIpAdapterImageEmbeds: (value) => value === null,
  controlGuidanceStart: (value) => value === 0,
  controlGuidanceEnd: (value) => value === 1,
  callbackOnStepEndTensorInputs: (value) => Array.isArray(value) && value.every((name) => name === 'latents'),
};

export const optionNames = Object.keys(catalogue) as OptionName[];
