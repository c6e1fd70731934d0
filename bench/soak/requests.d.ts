import type { Backend, DiffusionPipeline, ProgramCache, ProgramCacheStats } from '../../src/index.ts';

/** What a request has left: handles beside those of the weights, and programs with their estimate. */
export interface SoakPoint {
  handles: number;
  programs: number;
  programBytes: number;
}

export function soak(options: {
  DiffusionPipeline: typeof DiffusionPipeline;
  ProgramCache: typeof ProgramCache;
  backend: Backend;
  /** The bundled model. */
  model: string;
  requests: number;
  sizes: number;
  /** Of the programs. */
  maxBytes: number;
  /** Called after every request. */
  onPoint: (point: SoakPoint) => void;
}): Promise<{ ends: { finished: number; aborted: number; reused: number }; stats: ProgramCacheStats }>;
