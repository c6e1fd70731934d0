/** What runs jobs: an engine process of this server (`engine/engine.ts`), or workers behind a Redis (`redis/`). Which job is next is up to `Jobs`. */
import { DejaDitError } from '../../errors/errors.ts';
import type { ModelState } from '../engine/messages.ts';
import type { WorkEvent, WorkKind, WorkResult, Works } from './job.ts';

/** A job as a runner sees it. */
export interface Task<K extends WorkKind = WorkKind> {
  id: string;
  kind: K;
  model: string;
  input: Works[K]['input'];
  /** As the request's, for runners that have a queue of their own. */
  priority: number;
}

export interface Watching {
  /** Fires when the task is to end: cancelled, or out of time. */
  signal: AbortSignal;
  onEvent(event: WorkEvent): void;
}

export interface Runner {
  /** Tasks that may run at the same time. */
  readonly capacity: number;
  /**
   * Settles when the task is over; soon, if the signal fires.
   * @throws DejaDitError of the task; `RunnerLost` if what ran it is gone
   */
  run<K extends WorkKind>(task: Task<K>, watching: Watching): Promise<WorkResult<K>>;
}

/** A runner that knows the models of whatever computes for it. */
export interface ModelRunner extends Runner {
  /** By name, the default one first. */
  readonly models: ReadonlyMap<string, ModelState>;
  /** Loads a model, where whoever waits can have that done. Settles when it is, or cannot be. */
  load?(name: string): Promise<void>;
  /** Settles when the default model is loaded and has drawn once; rejects if it cannot be. */
  readonly warm: Promise<void>;
  /** Loads a model ahead of need, where the runner can. */
  load?(name: string): void;
  /** Of the process that computes, where there is one here. */
  readonly pid: number | undefined;
  close(): Promise<void>;
}

/** A process ended under its tasks. */
export class RunnerLost extends DejaDitError {
  /** @param alone whether it had no other task, so that this one must have ended it */
  constructor(
    message: string,
    readonly alone: boolean,
  ) {
    super('RUNTIME', message);
  }
}
