/** What an engine is told, from what a server or a worker was. */
import type { ServerSettings } from '../settings.ts';
import type { EngineOptions } from './engine.ts';

export function engineOptions(settings: ServerSettings): EngineOptions {
  const { models, memory, cache, lora, loraDir, maxPixels, concurrency } = settings;
  const { variant, revision, offline, backend, computeDtype, threads } = settings;
  const { layerwiseOffload, layerwiseTextOffload, maxProgramBytes } = settings;
  return {
    models,
    memory,
    cache,
    lora,
    loraDir,
    maxPixels,
    capacity: concurrency,
    load: {
      variant,
      revision,
      offline,
      backend,
      computeDtype,
      threads,
      layerwiseOffload,
      layerwiseTextOffload,
      maxProgramBytes,
    },
  };
}
