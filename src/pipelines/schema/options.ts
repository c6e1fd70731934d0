/**
 * What pipelines take and return, under Diffusers' names in camelCase. Which options a pipeline takes, their defaults and their
 * checks are its own business.
 */

import type { CacheStats } from '../../cache/report/stats.ts';
import type { RequestSessionsOptions } from '../../cache/run/request-sessions.ts';
import type { Image } from '../../images/image.ts';
import type { Video } from '../../images/video.ts';
import type { StepReport } from '../../models/transformer-model.ts';
import type { Generator } from '../../tensor/generator.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Pipeline } from '../pipeline.ts';
import type { SchedulerChoice } from '../request/scheduler-choice.ts';
import type { ImageSource } from '../request/start-images.ts';
import type { PromptWeighting } from '../request/text-encoder.ts';

export interface StepEvent {
  /** 1-based. */
  step: number;
  steps: number;
  timestep: number;
  /** `reuse` if every guidance branch was answered from the cache. */
  action: 'compute' | 'reuse';
  /** What the cache did per model call (guidance branches that share a call appear as `cond`); empty without a cache. */
  branches: Readonly<Record<string, StepReport>>;
  /** Latents after this step. */
  latents: Tensor;
  /** Milliseconds this step took. */
  time: number;
  /** Decodes what the finished images (or the first frames of videos) look like so far. Costs a run of the autoencoder. */
  preview(): Promise<Image[]>;
}

/** What `onStep` may return to change how a request goes on, as the dictionary that Diffusers' `callback_on_step_end` returns. */
export interface StepChanges {
  /** In place of the latents after this step, of the same shape. */
  latents?: Tensor | undefined;
}

// biome-ignore lint/suspicious/noConfusingVoidType: a callback that returns nothing has this type
export type StepReply = StepChanges | void;

export interface PromptTemplate {
  /** With `{}` in the prompt's place. */
  template: string;
  /** Tokens at its beginning that are read, but not passed on. Default 0. */
  cropStart?: number | undefined;
  /** The same, as Diffusers spells it. */
  crop_start?: number | undefined;
}

/** A text for all pictures, or one for each. */
export type Texts = string | readonly string[];

/** Text embeddings [prompts, tokens, width]; where prompts may differ in length, a list of [tokens, width]. */
export type Embeddings = Tensor | readonly Tensor[];

/** An integer, or the digits of one; as in PyTorch its low 32 bits count. */
export type Seed = number | bigint | string;

/** The options of all pipelines. Each pipeline takes the ones that mean something to it and refuses the others by name. */
export interface GenerateOptions {
  prompt?: Texts;
  /** For the second, third and fourth text encoder. Default: `prompt`. */
  prompt2?: Texts;
  prompt3?: Texts;
  prompt4?: Texts;
  /** For classifier-free guidance. Default: an empty text where guidance is on anyway. */
  negativePrompt?: Texts;
  /** Default: `negativePrompt`. */
  negativePrompt2?: Texts;
  negativePrompt3?: Texts;
  negativePrompt4?: Texts;
  /** What to draw for models that know classes instead of texts: numbers, or names that the checkpoint lists. */
  classLabels?: number | string | readonly (number | string)[];

  /** What a text encoder made of the prompt, in place of `prompt`; then all tensors of the prompt have to be given. */
  promptEmbeds?: Embeddings;
  /** [prompts, width]. */
  pooledPromptEmbeds?: Tensor;
  /** [prompts, tokens, width], where T5 is one of several encoders. */
  promptEmbedsT5?: Tensor;
  /** Of every layer of Llama: [layers, prompts, tokens, width]. */
  promptEmbedsLlama3?: Tensor;
  /** [prompts, tokens], 1 for tokens and 0 for padding. Default: no padding. */
  promptAttentionMask?: Tensor;
  /** As `promptAttentionMask`, under the name that Qwen-Image has for it. */
  promptEmbedsMask?: Tensor;
  negativePromptEmbeds?: Embeddings;
  negativePooledPromptEmbeds?: Tensor;
  negativePromptEmbedsT5?: Tensor;
  negativePromptEmbedsLlama3?: Tensor;
  negativePromptAttentionMask?: Tensor;
  negativePromptEmbedsMask?: Tensor;
  /** As `promptEmbeds` and `pooledPromptEmbeds`, under the names that Kandinsky 5 has for them. */
  promptEmbedsQwen?: Tensor;
  promptEmbedsClip?: Tensor;
  negativePromptEmbedsQwen?: Tensor;
  negativePromptEmbedsClip?: Tensor;
  /** Embeddings [prompts, tokens, width] of words to be written into the picture, beside `prompt` or `promptEmbeds`. */
  promptEmbeds2?: Tensor;
  promptEmbedsMask2?: Tensor;
  negativePromptEmbeds2?: Tensor;
  negativePromptEmbedsMask2?: Tensor;

  /** What the language model that reads the prompt is told before it. */
  systemPrompt?: string;
  /** What the prompt is put into before a language model reads it. */
  promptTemplate?: PromptTemplate;
  /** Lines of an instruction in front of the prompt; null or an empty text: none. */
  complexHumanInstruction?: Texts;
  /** Hidden states of the text encoder that are read, side by side; negative ones count from the last. */
  textEncoderOutLayers?: readonly number[];

  /** Guidance: the scale that the model was distilled with (FLUX.1-dev), or the classifier-free one where there is no other. */
  guidanceScale?: number;
  /** The scale that a distilled model is told, where `guidanceScale` is the classifier-free one. */
  distilledGuidanceScale?: number;
  /** Guidance of the second expert, which takes over at low noise. Default: `guidanceScale`. */
  guidanceScale2?: number;
  /** Classifier-free guidance of models that also have a distilled `guidanceScale`: a second model call per step. Default 1, off. */
  trueCfgScale?: number;
  /** Largest norm of the guided output relative to the unguided; false or 0: no limit, true: 1. Default false. */
  cfgNormalization?: boolean | number;
  /** Bring vectors that guidance makes longer back to the length that they have without. Default true. */
  enableCfgRenorm?: boolean;
  /** Least factor by which `enableCfgRenorm` brings them back; 1 is not at all. Default 0. */
  cfgRenormMin?: number;
  /** How far the spread of the guided output is brought back to that of the unguided. Default 0: not at all. */
  guidanceRescale?: number;
  /** Whether the spread of the guided output is brought back to that of the unguided, nearly. */
  normalize?: boolean;
  /** Largest value that the model may predict, of either sign; 0: any. */
  clipValue?: number;
  /** Whether guidance grows as the noise goes. Default false. */
  useDynamicCfg?: boolean;
  /** Shares of the steps between which there is guidance; elsewhere the call for it is saved. Default [0, 1]. */
  guidanceInterval?: readonly [number, number];
  /** Share of the steps after which guidance ends. Default 1: never. */
  cfgTruncRatio?: number;
  /** Share of the way from noise to image after which guidance ends. Default 1: never. */
  cfgTruncation?: number;
  /** Text tokens. Default: what the pipeline's text encoder was used with in training. */
  maxSequenceLength?: number;
  /** How parentheses in prompts are read: as weights, the way ComfyUI does, as in `(red:1.3) apple`. Default: as text. */
  promptWeighting?: PromptWeighting;
  /** The same under the name that PRX has for it. */
  tokenizerMaxLength?: number;
  /** Whether prompts are not cleaned as the captions of the model's training were. Default false. */
  skipTextCleaning?: boolean;
  /**
   * Whether prompts are cleaned as the captions of the model's training were: what scraped captions have beside what they say is taken
   * out. Default: as the pipeline's class in Diffusers.
   */
  cleanCaption?: boolean;
  /** CLIP layers to leave out at the end, besides the last. Default 0. */
  clipSkip?: number;

  /**
   * Starting image for image-to-image; resized to `width`×`height`, alpha dropped. Several take turns: pictures 0, 1, 2, … start from
   * images 0, 1, 0, …
   */
  image?: ImageSource | readonly ImageSource[];
  /** What of `image` is drawn anew, for inpainting: where it is white. Resized with it. */
  maskImage?: ImageSource | readonly ImageSource[];
  /** What a video that starts from `image` ends with. */
  lastImage?: ImageSource | readonly ImageSource[];
  /** Frames of the video to start from, in video-to-video; resized to `width`×`height`. */
  video?: ImageSource | readonly ImageSource[];
  /** Pixels that pictures are brought to, in the ratio of `width` and `height`. Default 1024². */
  maxArea?: number;
  /** Of pictures as the model that reads the prompt sees them, in pixels. */
  conditionArea?: number;
  /**
   * What a ControlNet sees, resized to `width`×`height`; several take turns. With a list of ControlNets there is one for each, or a list of
   * pictures that take turns; a list of one ControlNet sees as many as there are, and adds up what it says of them.
   */
  controlImage?: ImageSource | readonly (ImageSource | readonly ImageSource[])[];
  /** What of `controlImage` is drawn anew, for ControlNets that inpaint: where it is white. */
  controlMask?: ImageSource | readonly ImageSource[];
  /** Which kind of picture that is, for a ControlNet that knows several. Of several ControlNets a list, null for those that need none. */
  controlMode?: number | readonly (number | null)[];
  /** How strongly the ControlNet acts, or each of several. Default 1. */
  controlnetConditioningScale?: number | readonly number[];
  /** Shares of the steps between which the ControlNet acts, or each of several. Default 0 and 1. */
  controlGuidanceStart?: number | readonly number[];
  controlGuidanceEnd?: number | readonly number[];
  /** Bring the image to the nearest size that the model was trained at. Default true. */
  autoResize?: boolean;
  /** How much of the schedule runs on the starting image: 1 all of it, near 0 almost nothing. Default 0.6. */
  strength?: number;
  numInferenceSteps?: number;
  height?: number;
  width?: number;
  /** What the model is told of the picture it draws, as [height, width] and [top, left]. Default: that it is whole. */
  originalSize?: readonly [number, number];
  targetSize?: readonly [number, number];
  cropsCoordsTopLeft?: readonly [number, number];
  /** Frames per second of a video. */
  frameRate?: number;
  /** Frames of a video. */
  numFrames?: number;
  /** How much noise a decoder that removes noise is told of, from 0 to 1, or that of each video. Default 0. */
  decodeTimestep?: number | readonly number[];
  /** Share of fresh noise that the latents get before it, or that of each video. Default: `decodeTimestep`. */
  decodeNoiseScale?: number | readonly number[];
  /** Edge of a square as large as the picture, in place of `height` and `width`. Default 1024. */
  outputResolution?: number;
  /** Draw at the nearest size that the model was trained on, then resize and crop. Default true. */
  useResolutionBinning?: boolean;
  /** Images (or videos) per prompt. Default 1. */
  numImages?: number;
  /**
   * The same seed gives the same noise as a CPU generator of PyTorch. One seed makes one stream of noise for the whole batch; with a
   * list every image has its own, and comes out as it does alone. Default: random.
   */
  seed?: Seed | readonly Seed[];
  /** Source of noise in place of `seed`, or one for each picture. They go on from where they are. */
  generator?: Generator | readonly Generator[];
  /** Initial noise instead of a seeded draw. */
  latents?: Tensor;
  /** In place of the checkpoint's: a class by Diffusers' name, fields of its config, or both. See `SchedulerChoice`. */
  scheduler?: SchedulerChoice;
  /** Noise levels instead of the scheduler's spacing. */
  sigmas?: readonly number[];
  /** Times instead of the scheduler's spacing, for schedulers that take them. */
  timesteps?: readonly number[];
  /** Angle in radians at which a consistency model's schedule starts. Default π/2. */
  maxTimesteps?: number;
  /** Angle between the two steps of a request of two. Default 1.3. */
  intermediateTimesteps?: number;
  /** `image`, or `pil` as in Diffusers: pictures. `latent`: the final latents alone. Default `image`. */
  outputType?: 'image' | 'latent' | 'pil';
  /**
   * How this request is cached: settings as `enableCache` takes them, or false to compute everything. They replace as a whole what
   * `enableCache` has set, which is the default; requests with different caches may run at the same time.
   * @example
   *   await pipe.generate({ prompt, cache: { cacheConfig: { errorBudget: 0.05 } } });
   *   await pipe.generate({ prompt, cache: {} }); // the default settings of enableCache
   *   await pipe.generate({ prompt, cache: false });
   */
  cache?: RequestSessionsOptions['cache'];
  /**
   * Which of the LoRAs that `loadLora` has loaded apply to this request, each with its strength; the others do not. Default: all, at
   * the strengths they were loaded with.
   * @example
   *   await pipe.generate({ prompt, loras: { style: 0.8 } });
   *   await pipe.generate({ prompt, loras: {} }); // none
   */
  loras?: Readonly<Record<string, number>>;
  /** Diffusers' callback, called after every step; what it returns may have other `latents`, as with `onStep`. */
  callbackOnStepEnd?: (
    pipe: Pipeline,
    step: number,
    timestep: number,
    callbackKwargs: { latents: Tensor },
  ) => StepReply | Promise<StepReply>;
  /** Called after every step; a promise it returns is awaited. What it returns may change the course, see `StepChanges`. */
  onStep?: (event: StepEvent) => StepReply | Promise<StepReply>;
  /**
   * Memory that the request may need besides the weights, by estimate: bytes, or a text such as `512MiB` or `4GiB`. Default: the machine's,
   * less the weights.
   */
  maxMemory?: number | string;
  /** Ends the request between two steps with an `ABORTED` error. */
  signal?: AbortSignal;
}

export type OptionName = keyof GenerateOptions;

export interface Timings {
  /** Milliseconds. */
  encode: number;
  denoise: number;
  decode: number;
  total: number;
  steps: number[];
}

export interface GenerateResult {
  /** Empty with `outputType: 'latent'`, and where videos come out. */
  images: Image[];
  /** Empty with `outputType: 'latent'`, and where images come out. */
  videos: Video[];
  /** Final latents as the scheduler left them. */
  latents: Tensor;
  /** As given, as a number where that is exact; undefined with `generator`. */
  seed: number | bigint | readonly (number | bigint)[] | undefined;
  timings: Timings;
  /**
   * What the request's cache did, an entry for each block group of the transformers that were called; `summary(result)` prints it.
   * Without a cache the entry's `cacheOptions` is null.
   */
  summary: CacheStats[];
  /** What was said of this request, one line each. Shown by `setWarningHandler`'s function too. */
  warnings: string[];
}
