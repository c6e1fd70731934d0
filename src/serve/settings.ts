/** What a server is told when it is made, with its defaults. The command line's flags are in `cli/commands/serve.ts`. */
import os from 'node:os';
import * as z from 'zod';
import type { EnableCacheOptions } from '../api/enable-cache.ts';
import { type ArgumentShape, anyObject, readArguments } from '../errors/arguments.ts';
import { DejaDitError } from '../errors/errors.ts';
import { type ComputeDtype, computeDtypes } from '../models/compute-dtype.ts';
import { type ParallelismOptions, parseParallelismConfig } from '../parallel/config/parallelism-config.ts';
import { type BackendChoice, backendChoices } from '../runtime/create-backend.ts';
import { launchedBy } from '../runtime/launched-by.ts';
import { bundledModel } from '../weights/bundled-model.ts';
import { parseBytes } from '../weights/byte-size.ts';
import type { OffloadOptions } from '../weights/offload/options.ts';
import { modelName } from './models.ts';

export interface ServerOptions {
  /**
   * Folders in Diffusers layout or Hugging Face repositories. The first is loaded at the start and is the default; the others are
   * loaded on demand. Their names are the last parts. Default: the bundled model.
   */
  model?: string | readonly string[] | undefined;
  /** Memory that loaded models may take together: bytes, or `12GiB`; a GPU's if they are there. Default: three quarters of the machine's. */
  memory?: number | string | undefined;
  /** A cache for requests that bring none, as `enableCache` takes it, and the ranks that models are computed on. Default: none. */
  cache?: EnableCacheOptions | undefined;
  /** A LoRA on all models; requests know it by the name of its file. */
  lora?: { path: string; strength?: number | undefined } | undefined;
  /** A folder of LoRAs that requests may name. */
  loraDir?: string | undefined;
  variant?: string | undefined;
  revision?: string | undefined;
  offline?: boolean | undefined;
  /** As for `createBackend`; on a GPU all models share one. Default: `cpu`, or `wasm` where that does not load. */
  backend?: BackendChoice | undefined;
  /** Default: float16 where the backend has it, else float32. */
  computeDtype?: ComputeDtype | undefined;
  threads?: number | undefined;
  layerwiseOffload?: boolean | OffloadOptions | undefined;
  layerwiseTextOffload?: boolean | undefined;
  maxProgramBytes?: number | undefined;

  /** Keys, one of which every request must bring. Default: none is needed. */
  apiKey?: string | readonly string[] | undefined;
  /** Origins whose web pages may use the server; `*` for all. Default: its own pages only. */
  cors?: string | readonly string[] | undefined;
  /** Whether it is reached from this machine only, so that other host names are refused. Default false. */
  loopback?: boolean | undefined;
  /** A folder into which requests may have their pictures written. Default: none. */
  outputDir?: string | undefined;
  /** Pictures from URLs: from any public host, or from these only. Default false. */
  imageUrls?: boolean | readonly string[] | undefined;

  /** `redis://HOST:PORT`: jobs go on a queue there, and `deja-dit worker`s run them. Default: an engine process of the server's own. */
  queue?: string | undefined;
  /** Seconds that a worker may be silent before its jobs are given to another one. Default 30. */
  queueLock?: number | undefined;

  /** Requests that run at the same time, step by step: those of one size without a cache as one batch, others interleaved. Default 8. */
  concurrency?: number | undefined;
  /** Requests that may wait. Default 64. */
  maxQueued?: number | undefined;
  /** Seconds that a request may run. Default 3600. */
  timeout?: number | undefined;
  /** Seconds that finished jobs are kept, and the memory they may take: bytes, or `256MiB` (default). */
  keepSeconds?: number | undefined;
  keepMemory?: number | string | undefined;
  /** Bytes of a request's body, and of one picture. Default 64 MiB. */
  maxBodyBytes?: number | undefined;
  /** Width times height of what is drawn or sent. Default 2^24 (4096 x 4096). */
  maxPixels?: number | undefined;
  /** Denoising steps. Default 200. */
  maxSteps?: number | undefined;
  /** Pictures of one request. Default 16. */
  maxImages?: number | undefined;
  /** Frames of a video. Default 257. */
  maxFrames?: number | undefined;
  /** `debug`, `info`, `warn`, `error` or `silent` (default). Logs are JSON lines on standard error. */
  logLevel?: LogLevel | undefined;
}

const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

const texts = z.union([z.string(), z.array(z.string())], { error: 'expected a text or a list of texts' });
const size = z.union([z.number(), z.string()]).refine((value) => parseBytes(value) > 0, {
  error: 'expected a size, bytes or as 512MiB or 4GiB',
});
const count = z.int({ error: 'expected an integer from 1' }).min(1, { error: 'expected an integer from 1' });
const seconds = z.number({ error: 'expected seconds' }).positive({ error: 'expected seconds' });

export const optionsShape: ArgumentShape<ServerOptions> = {
  model: texts,
  memory: size,
  cache: anyObject,
  lora: z.object({ path: z.string(), strength: z.number().optional() }),
  loraDir: z.string(),
  variant: z.string(),
  revision: z.string(),
  offline: z.boolean(),
  backend: z.enum(backendChoices),
  computeDtype: z.enum(computeDtypes),
  threads: count,
  layerwiseOffload: z.union([z.boolean(), anyObject]),
  layerwiseTextOffload: z.boolean(),
  maxProgramBytes: z.number(),
  apiKey: texts,
  cors: texts,
  loopback: z.boolean(),
  outputDir: z.string(),
  imageUrls: z.union([z.boolean(), z.array(z.string())]),
  queue: z.string(),
  queueLock: seconds,
  concurrency: count,
  maxQueued: count,
  timeout: seconds,
  keepSeconds: seconds,
  keepMemory: size,
  maxBodyBytes: count,
  maxPixels: count,
  maxSteps: count,
  maxImages: count,
  maxFrames: count,
  logLevel: z.enum(logLevels),
};

type Texts = 'model' | 'apiKey' | 'cors';
type Sizes = 'memory' | 'keepMemory';
type Filled =
  | 'imageUrls'
  | 'concurrency'
  | 'maxQueued'
  | 'timeout'
  | 'keepSeconds'
  | 'maxBodyBytes'
  | 'maxPixels'
  | 'maxSteps'
  | 'maxImages'
  | 'maxFrames'
  | 'logLevel'
  | 'loopback';

/** The options with every default filled in. */
export type ServerSettings = Omit<ServerOptions, Texts | Sizes | Filled> & {
  readonly [Name in Filled]: NonNullable<ServerOptions[Name]>;
} & Readonly<Record<Sizes, number>> & {
    readonly models: readonly { name: string; source: string }[];
    readonly apiKeys: readonly string[];
    readonly cors: readonly string[];
  };

/** @throws DejaDitError INVALID_ARGUMENT naming the option */
export function readServerOptions(given: ServerOptions): ServerSettings {
  const { model, apiKey, cors, memory, keepMemory, ...others } = readArguments(optionsShape, given, {
    of: 'createServer',
  });
  const models = [model ?? bundledModel()].flat().map((source) => ({ name: modelName(source), source }));
  const twice = models.find(({ name }, i) => models.findIndex((other) => other.name === name) !== i);
  if (twice)
    throw new DejaDitError('INVALID_ARGUMENT', `two models are called '${twice.name}', the last part of both`, {
      path: 'model',
    });
  checkRanks(others.cache?.parallelismConfig);
  const apiKeys = [apiKey ?? []].flat();
  if (apiKeys.includes('')) throw new DejaDitError('INVALID_ARGUMENT', 'is empty', { path: 'apiKey' });
  return {
    imageUrls: false,
    concurrency: 8,
    maxQueued: 64,
    timeout: 3600,
    keepSeconds: 3600,
    maxBodyBytes: 2 ** 26,
    maxPixels: 2 ** 24,
    maxSteps: 200,
    maxImages: 16,
    maxFrames: 257,
    logLevel: 'silent',
    loopback: false,
    ...others,
    models,
    apiKeys,
    cors: [cors ?? []].flat(),
    memory: memory === undefined ? 0.75 * machineMemory() : parseBytes(memory),
    keepMemory: parseBytes(keepMemory ?? '256MiB'),
  };
}

/**
 * A server's ranks are threads of its engine.
 * @throws DejaDitError UNSUPPORTED
 */
function checkRanks(options: ParallelismOptions | null | undefined): void {
  if (!options) return;
  const path = 'cache.parallelismConfig';
  const config = parseParallelismConfig(options, { path });
  if (launchedBy())
    throw new DejaDitError('UNSUPPORTED', "a server's ranks are threads: start it without a launcher of MPI", { path });
  if (config && config.mesh.batch > 1)
    throw new DejaDitError(
      'UNSUPPORTED',
      'a server computes requests together, in calls of as many samples as there happen to be: use ulyssesSize, ringSize or tpSize',
      { path: `${path}.cfgSize` },
    );
}

/** Of the machine, or what a container leaves of it. */
function machineMemory(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(constrained, os.totalmem()) : os.totalmem();
}
