/** `deja-dit serve` and `deja-dit worker`: until a signal ends them in order. */
import type { EnableCacheOptions } from '../../api/enable-cache.ts';
import { DejaDitError } from '../../errors/errors.ts';
import type { ComputeDtype } from '../../models/compute-dtype.ts';
import type { BackendChoice } from '../../runtime/create-backend.ts';
import { isLoopback, listen } from '../../serve/listen.ts';
import { createServer } from '../../serve/server.ts';
import type { ServerOptions } from '../../serve/settings.ts';
import { createWorker } from '../../serve/worker.ts';
import type { ModelFlags } from '../flags/model-flags.ts';
import { type OffloadFlags, offloadOptions } from '../flags/offload-flags.ts';
import { type ParallelFlags, parallelOptions } from '../flags/parallel-flags.ts';
import { type ServerCacheFlags, serverCache } from '../flags/server-cache.ts';
import type { ServerFlags } from '../flags/server-flags.ts';

export interface ServeFlags
  extends ServerFlags,
    ServerCacheFlags,
    OffloadFlags,
    ParallelFlags,
    Omit<ModelFlags, 'model'> {
  model?: string[];
  backend?: BackendChoice;
  computeDtype?: ComputeDtype;
  threads?: number;
  quantizeType?: string;
  loraPath?: string;
  loraScale?: number;
  loraDir?: string;
}

export async function serve(flags: ServeFlags): Promise<void> {
  const { port, host, drain } = flags;
  const server = createServer({
    ...(await engineFlags(flags)),
    apiKey: flags.apiKey ?? process.env['DEJA_DIT_API_KEY'],
    cors: flags.cors,
    loopback: isLoopback(host),
    outputDir: flags.outputDir,
    imageUrls: flags.imageUrls,
    maxQueued: flags.maxQueued,
    timeout: flags.timeout,
    keepSeconds: flags.keep,
    keepMemory: flags.keepMemory,
    maxBodyBytes: flags.maxBody,
    maxSteps: flags.maxSteps,
    maxImages: flags.maxImages,
    maxFrames: flags.maxFrames,
  });
  try {
    const { address, close } = await listen(server, { port, host });
    console.log(address);
    const end = asked();
    // A model that cannot be loaded ends the command.
    await Promise.race([server.ready, end]);
    await end;
    // Whoever waits for a result still gets it; /health tells others to go elsewhere.
    await Promise.race([server.drain(drain), asked()]);
    await close();
  } finally {
    await server.close();
  }
}

/** `deja-dit worker`: runs the jobs of a queue, until a signal ends it in order. */
export async function worker(flags: ServeFlags): Promise<void> {
  const { ready, close } = await createWorker(await engineFlags(flags));
  try {
    const end = asked();
    await Promise.race([ready, end]);
    console.log('ready');
    await end;
  } finally {
    await Promise.race([close(), asked()]);
  }
}

/** What servers and workers are both told. */
export async function engineFlags(flags: ServeFlags): Promise<ServerOptions> {
  const { loraPath, loraScale, quantizeType } = flags;
  if (loraScale !== undefined && loraPath === undefined)
    throw new DejaDitError('INVALID_ARGUMENT', '--lora-scale has no effect without --lora-path');
  const cache = withRanks(await serverCache(flags), flags);
  // A repository's token is for the engine process, which has this one's environment.
  if (flags.token !== undefined) process.env['HF_TOKEN'] = flags.token;
  return {
    model: flags.model,
    memory: flags.memory,
    cache: quantizeType === undefined ? cache : { ...cache, quantizeConfig: { quantType: quantizeType } },
    lora: loraPath === undefined ? undefined : { path: loraPath, strength: loraScale },
    loraDir: flags.loraDir,
    variant: flags.variant,
    revision: flags.revision,
    offline: flags.offline,
    backend: flags.backend,
    computeDtype: flags.computeDtype,
    threads: flags.threads,
    layerwiseOffload: offloadOptions(flags),
    layerwiseTextOffload: flags.layerwiseTextOffload,
    queue: flags.queue,
    queueLock: flags.queueLock,
    concurrency: flags.concurrency,
    maxPixels: flags.maxPixels,
    logLevel: flags.logLevel,
  };
}

/** @throws DejaDitError INVALID_ARGUMENT where the config file has ranks too; UNSUPPORTED in a job of MPI */
function withRanks(cache: EnableCacheOptions | undefined, flags: ServeFlags): EnableCacheOptions | undefined {
  const parallelismConfig = parallelOptions(flags);
  if (!parallelismConfig) return cache;
  if (cache?.parallelismConfig)
    throw new DejaDitError('INVALID_ARGUMENT', 'is in the config file too: keep one of the two', {
      path: '--parallel',
    });
  return { cacheConfig: null, ...cache, parallelismConfig };
}

/** The next signal that asks to end. */
function asked(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => resolve());
  });
}
