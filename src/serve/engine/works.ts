/** What an engine process does for each kind of work. A kind is a function from its input to files and a report; see `Works`. */
import type { WorkEvent, WorkKind, WorkResult, Works } from '../jobs/job.ts';
import { generate } from './generate.ts';
import type { Lease } from './model-pool.ts';
import type { StepBatcher } from './step-batcher.ts';

/** What work has at hand. */
export interface WorkContext {
  /** The model that the job names. */
  model: string;
  /** Loads a model if need be and keeps it loaded until the work is over. Default: the job's own. */
  lease(name?: string): Promise<Pick<Lease, 'pipe' | 'loras'>>;
  /** Takes the steps of requests, together with those of other works. */
  steps: StepBatcher;
  signal: AbortSignal;
  emit(event: WorkEvent): void;
  /** Largest picture that is to be decoded, in pixels. */
  maxPixels: number;
}

export type Work<K extends WorkKind> = (input: Works[K]['input'], context: WorkContext) => Promise<WorkResult<K>>;

export const works: { readonly [K in WorkKind]: Work<K> } = { generate };
