/**
 * What a job is: a piece of work for an engine process, with a state, events, and files as its result. Every protocol of the server
 * (a "skin") turns its requests into jobs and jobs into its answers; what keeps and orders them is `jobs.ts`.
 *
 * Everything here is plain data: it goes between processes, through Redis, and into JSON.
 */
import type { CacheStats } from '../../cache/report/stats.ts';
import type { ErrorCode } from '../../errors/errors.ts';
import type { StepReport } from '../../models/transformer-model.ts';
import type { GenerateOptions } from '../../pipelines/schema/options.ts';

/**
 * The kinds of work: what each is given and what it reports beside its files. A new kind is an entry here and a function in
 * `engine/works.ts`.
 */
export interface Works {
  /** One call of a pipeline's `generate`. */
  generate: { input: GenerateInput; report: GenerateReport };
}

export type WorkKind = keyof Works;

/** Options that are pictures: a request's are the bytes of files, never a path, which would be a file of the server's. */
export const pictureOptions = ['image', 'maskImage', 'lastImage', 'video', 'controlImage', 'controlMask'] as const;
export type PictureOption = (typeof pictureOptions)[number];

/** Options that are plain data; pictures are the bytes of files. */
export type PlainOptions = Omit<
  GenerateOptions,
  | PictureOption
  | 'onStep'
  | 'signal'
  | 'latents'
  | 'promptEmbeds'
  | 'pooledPromptEmbeds'
  | 'promptAttentionMask'
  | 'promptEmbedsMask'
  | 'negativePromptEmbeds'
  | 'negativePooledPromptEmbeds'
  | 'negativePromptAttentionMask'
  | 'negativePromptEmbedsMask'
  | 'promptEmbedsQwen'
  | 'promptEmbedsClip'
  | 'negativePromptEmbedsQwen'
  | 'negativePromptEmbedsClip'
  | 'promptEmbeds2'
  | 'promptEmbedsMask2'
  | 'negativePromptEmbeds2'
  | 'negativePromptEmbedsMask2'
> & { [Name in PictureOption]?: Uint8Array | readonly Uint8Array[] };

export interface GenerateInput {
  options: PlainOptions;
  output?: OutputOptions;
  previews?: PreviewOptions;
}

export interface OutputOptions {
  /** Of images. Default `png`. */
  format?: 'png' | 'jpeg' | 'webp';
  /** Of videos. Default: `mp4` where there is ffmpeg, else `webp`, which a warning says. */
  video?: 'mp4' | 'webp';
  /** 1 to 100, for the lossy formats. */
  quality?: number;
  /** Frames per second of a video. Default: the model's. */
  fps?: number;
  /** Beside the options, what is written into the files. */
  metadata?: Readonly<Record<string, unknown>>;
}

/** Pictures of what an image will become, each at the cost of a run of the autoencoder. Default: none. */
export interface PreviewOptions {
  /** As many, spread evenly over the steps before the last. */
  count?: number;
  /** Or one after every so many steps. */
  every?: number;
  /** Default `jpeg`. */
  format?: 'png' | 'jpeg' | 'webp';
  /** Longest side in pixels; larger ones are made smaller. Default: as large as the image. */
  maxSize?: number;
}

export interface GenerateReport {
  /** As given or drawn: integers, beyond 2^53 as digits. */
  seed: number | string | readonly (number | string)[];
  /** Milliseconds, as in `Timings`. */
  timings: { encode: number; denoise: number; decode: number; total: number; steps: readonly number[] };
  /** Denoising steps, and how many of them every guidance branch answered from the cache. */
  steps: number;
  reusedSteps: number;
  /** What the cache did, see `GenerateResult`. */
  summary: readonly CacheStats[];
  warnings: readonly string[];
}

/** A picture or a video as a file. */
export interface JobFile {
  /** `image/png`, `video/mp4`, … */
  type: string;
  bytes: Uint8Array<ArrayBuffer>;
  width: number;
  height: number;
  /** Of videos. */
  frames?: number;
  fps?: number;
}

export interface WorkResult<K extends WorkKind = WorkKind> {
  files: readonly JobFile[];
  report: Works[K]['report'];
}

/** What work says while it runs. */
export type WorkEvent =
  | {
      type: 'step';
      /** 1-based. */
      step: number;
      steps: number;
      /** `reuse` if every guidance branch was answered from the cache. */
      action: 'compute' | 'reuse';
      /** What the cache did, by guidance branch. */
      branches: Readonly<Record<string, StepReport>>;
      /** Milliseconds. */
      time: number;
    }
  /** `index` counts the previews of a job from 0; `image` is the picture of the first image of the request. */
  | { type: 'preview'; step: number; index: number; file: JobFile }
  /** Anything else that a kind of work has to say. */
  | { type: 'detail'; name: string; data: unknown };

export type JobState = 'queued' | 'running' | 'done' | 'failed' | 'cancelled';

/** The course of a job, in this order: `queued`, `started`, events of its work, and one of the last three. */
export type JobEvent =
  | { type: 'queued'; position: number }
  /** More than once, if an engine process was lost and the job began anew. */
  | { type: 'started' }
  | WorkEvent
  | { type: 'done' }
  | { type: 'failed'; error: JobError }
  | { type: 'cancelled' };

/** `code` as in `DejaDitError`; `TIMEOUT` if the job took longer than it may. */
export interface JobError {
  code: ErrorCode | 'TIMEOUT';
  message: string;
  /** The option that is wrong, for errors that are the client's. */
  path?: string;
}

export interface JobRequest<K extends WorkKind = WorkKind> {
  kind: K;
  /** Name of a model. Default: the server's first. */
  model?: string | undefined;
  input: Works[K]['input'];
  /** Higher ones go first; equal ones in the order they came. Default 0. */
  priority?: number | undefined;
  /** Seconds from its start. Default, and most: the server's. */
  timeout?: number | undefined;
  /** Whom it is for, as a protocol tells clients apart. */
  client?: string | undefined;
  /** Whether nothing else may run beside it, as where weights change. */
  alone?: boolean | undefined;
}

/** A job as others may see it; what changes is changed by `Jobs` alone. */
export interface Job<K extends WorkKind = WorkKind> {
  readonly id: string;
  readonly request: Readonly<JobRequest<K>>;
  /** The model's name. */
  readonly model: string;
  readonly state: JobState;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly startedAt: number | undefined;
  readonly finishedAt: number | undefined;
  /** Of the last step that is over. */
  readonly progress: { readonly step: number; readonly steps: number; readonly reusedSteps: number };
  /** Whether it was asked to end and has not yet. */
  readonly cancelling: boolean;
  /** Of the last preview. */
  readonly preview: JobFile | undefined;
  readonly result: WorkResult<K> | undefined;
  readonly error: JobError | undefined;
}

export const isFinished = ({ state }: Pick<Job, 'state'>): boolean =>
  state === 'done' || state === 'failed' || state === 'cancelled';

/** Bytes that a job holds in memory, about: those of its files, images and previews. */
export function bytesOf(value: unknown): number {
  if (value instanceof Uint8Array) return value.byteLength;
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return 8;
  return Object.values(value).reduce<number>((sum, part) => sum + bytesOf(part), 16);
}
