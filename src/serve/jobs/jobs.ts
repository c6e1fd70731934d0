/**
 * The job core: takes requests into a bounded queue, hands them to the runner in turn, and keeps what came of them. All protocols of the
 * server stand on it, and on nothing below:
 *
 *     const job = jobs.submit({ kind: 'generate', input: { options: { prompt } } });  // throws BUSY if the queue is full
 *     for await (const { event } of jobs.events(job.id)) …                            // steps and previews as they happen
 *     const { state, result, error } = await jobs.finished(job.id);                  // never throws for what the job did
 *     jobs.cancel(job.id);                                                           // at once, or before its next span
 *     const stop = jobs.watch((job, event) => …);                                    // the events of all jobs
 *
 * What a job computes is up to the runner; HTTP is up to the skins.
 */
import { randomUUID } from 'node:crypto';
import { DejaDitError } from '../../errors/errors.ts';
import { EventLog, type NumberedEvent } from './event-log.ts';
import { FinishedJobs, type KeepLimits } from './finished-jobs.ts';
import { isFinished, type Job, type JobError, type JobEvent, type JobRequest, type WorkKind } from './job.ts';
import { type Runner, RunnerLost } from './runner.ts';

export interface JobsOptions {
  runner: Runner;
  /** The model's name under which a request's `model` is known. @throws DejaDitError NOT_FOUND */
  modelOf(name: string | undefined): string;
  /** Jobs that may wait. Default 64. */
  maxQueued?: number | undefined;
  /** Seconds that a job may run. Default 3600. */
  timeout?: number | undefined;
  keep?: KeepLimits | undefined;
  /** Looks at a request before it is taken. @throws DejaDitError naming what is wrong with it */
  check?(request: JobRequest): void;
}

export type JobWatcher = (job: Job, event: JobEvent) => void;

type Writable<T> = { -readonly [K in keyof T]: T[K] };
type Mutable = Writable<Job> & { readonly log: EventLog; alone: boolean; abort: AbortController | undefined };

export class Jobs {
  /** In the order in which they will start. */
  private readonly waiting: Mutable[] = [];
  private readonly running = new Set<Mutable>();
  private readonly past: FinishedJobs<Mutable>;
  private readonly watchers = new Set<JobWatcher>();
  private readonly maxQueued: number;
  private readonly timeout: number;
  private draining = false;
  /** Milliseconds that a job ran on average, newer ones weighing more. */
  private usual = 1000;

  constructor(private readonly options: JobsOptions) {
    this.maxQueued = options.maxQueued ?? 64;
    this.timeout = options.timeout ?? 3600;
    this.past = new FinishedJobs(options.keep);
  }

  /**
   * Takes a job into the queue.
   * @throws DejaDitError `BUSY` if the queue is full, `DISPOSED` if the server is ending, `NOT_FOUND` for a model that is none of its own
   */
  submit<K extends WorkKind>(request: JobRequest<K>): Job<K> {
    if (this.draining) throw new DejaDitError('DISPOSED', 'the server is ending, and takes no more requests');
    const model = this.options.modelOf(request.model);
    this.options.check?.(request);
    if (this.waiting.length >= this.maxQueued)
      throw new DejaDitError('BUSY', `the queue is full: ${this.waiting.length} requests are waiting; try again later`);
    const job: Mutable = {
      id: randomUUID(),
      request,
      model,
      state: 'queued',
      createdAt: Date.now(),
      startedAt: undefined,
      finishedAt: undefined,
      progress: { step: 0, steps: 0, reusedSteps: 0 },
      cancelling: false,
      preview: undefined,
      result: undefined,
      error: undefined,
      log: new EventLog(),
      alone: request.alone ?? false,
      abort: undefined,
    };
    this.enqueue(job);
    this.dispatch();
    return job as Job as Job<K>;
  }

  get(id: string): Job | undefined {
    return this.find(id);
  }

  /** All that are known: those that wait in their order, those that run, those that are over with the newest first. */
  list(): { queued: Job[]; running: Job[]; finished: Job[] } {
    return { queued: [...this.waiting], running: [...this.running], finished: this.past.list().reverse() };
  }

  /**
   * Asks a job to end: one that waits does at once, one that runs before its next span; one that is over stays as it is.
   * @returns the job, if it is known
   */
  cancel(id: string): Job | undefined {
    const job = this.find(id);
    if (!job || isFinished(job)) return job;
    job.cancelling = true;
    if (job.state === 'queued') {
      this.waiting.splice(this.waiting.indexOf(job), 1);
      this.finish(job, 'cancelled');
    } else job.abort?.abort(new DejaDitError('ABORTED', 'the job was cancelled'));
    return job;
  }

  /** Forgets a job that is over, with its result. @returns whether there was one */
  forget(id: string): boolean {
    return this.past.delete(id);
  }

  /** The events of a job from the `from`th on, to its end. @throws DejaDitError NOT_FOUND */
  events(id: string, options: { from?: number; signal?: AbortSignal } = {}): AsyncGenerator<NumberedEvent> {
    return this.require(id).log.read(options);
  }

  /**
   * The job when it is over. What went wrong with it is in its `error`.
   * @throws DejaDitError NOT_FOUND; ABORTED if the signal fired, which leaves the job as it is
   */
  async finished<K extends WorkKind = WorkKind>(id: string, signal?: AbortSignal): Promise<Job<K>> {
    const job = this.require(id);
    for await (const _ of job.log.read(signal ? { signal } : {}));
    if (!isFinished(job)) throw new DejaDitError('ABORTED', 'whoever waited for the job has gone');
    return job as Job as Job<K>;
  }

  /** Hears the events of all jobs, after the job shows them. @returns a function that ends it */
  watch(watcher: JobWatcher): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  get counts(): { queued: number; running: number; finished: number; resultBytes: number } {
    return {
      queued: this.waiting.length,
      running: this.running.size,
      finished: this.past.size,
      resultBytes: this.past.bytes,
    };
  }

  get accepting(): boolean {
    return !this.draining;
  }

  /** Seconds until a full queue may have room again, about. */
  get retryAfter(): number {
    return Math.max(1, Math.ceil(this.usual / this.options.runner.capacity / 1000));
  }

  /**
   * Takes nothing more and lets what it has taken end.
   * @param seconds after which the rest is cancelled
   */
  async drain(seconds: number): Promise<void> {
    this.draining = true;
    const left = () => [...this.waiting, ...this.running];
    const ended = (async () => {
      for (let job = left()[0]; job; job = left()[0]) await this.finished(job.id);
    })();
    const timer = setTimeout(() => {
      for (const { id } of left()) this.cancel(id);
    }, seconds * 1000);
    await ended.finally(() => clearTimeout(timer));
  }

  /** Cancels everything, waits until it has ended, and forgets it. */
  async close(): Promise<void> {
    await this.drain(0);
    this.past.clear();
  }

  private find(id: string): Mutable | undefined {
    return (
      this.waiting.find((job) => job.id === id) ?? [...this.running].find((job) => job.id === id) ?? this.past.get(id)
    );
  }

  private require(id: string): Mutable {
    const job = this.find(id);
    if (job) return job;
    throw new DejaDitError('NOT_FOUND', `there is no job '${id}'; it may have been removed to make room`);
  }

  private enqueue(job: Mutable): void {
    const priority = ({ request }: Mutable) => request.priority ?? 0;
    const behind = this.waiting.findIndex((other) => priority(other) < priority(job));
    const position = behind < 0 ? this.waiting.length : behind;
    this.waiting.splice(position, 0, job);
    this.tell(job, { type: 'queued', position });
  }

  private dispatch(): void {
    for (let next = this.waiting[0]; next; next = this.waiting[0]) {
      if (this.running.size >= this.options.runner.capacity) return;
      const crowded = next.alone || [...this.running].some(({ alone }) => alone);
      if (crowded && this.running.size > 0) return;
      this.waiting.shift();
      void this.start(next);
    }
  }

  private async start(job: Mutable): Promise<void> {
    const abort = new AbortController();
    const seconds = Math.min(job.request.timeout ?? this.timeout, this.timeout);
    const timer = setTimeout(() => abort.abort(new OutOfTime(seconds)), seconds * 1000);
    Object.assign(job, { state: 'running', startedAt: Date.now(), abort });
    this.running.add(job);
    this.tell(job, { type: 'started' });
    const { id, request, model } = job;
    try {
      const result = await this.options.runner.run(
        { id, kind: request.kind, model, input: request.input, priority: request.priority ?? 0 },
        { signal: abort.signal, onEvent: (event) => this.hear(job, event) },
      );
      job.result = result;
      this.usual = 0.8 * this.usual + 0.2 * (Date.now() - job.startedAt!);
      this.leave(job);
      this.finish(job, 'done');
    } catch (error) {
      this.leave(job);
      if (error instanceof RunnerLost && !error.alone && !abort.signal.aborted) {
        // One of several may have brought the process down: each gets another chance, by itself.
        Object.assign(job, { state: 'queued', alone: true });
        this.enqueue(job);
      } else if (abort.signal.reason instanceof OutOfTime) this.finish(job, 'failed', abort.signal.reason.error);
      else if (abort.signal.aborted) this.finish(job, 'cancelled');
      else this.finish(job, 'failed', jobError(error));
    } finally {
      clearTimeout(timer);
      this.dispatch();
    }
  }

  private leave(job: Mutable): void {
    this.running.delete(job);
    job.abort = undefined;
  }

  private hear(job: Mutable, event: JobEvent): void {
    if (event.type === 'step') {
      const { step, steps, action } = event;
      const reusedSteps = (step === 1 ? 0 : job.progress.reusedSteps) + (action === 'reuse' ? 1 : 0);
      job.progress = { step, steps, reusedSteps };
    } else if (event.type === 'preview') job.preview = event.file;
    this.tell(job, event);
  }

  private finish(job: Mutable, state: 'done' | 'failed' | 'cancelled', error?: JobError): void {
    Object.assign(job, { state, error, finishedAt: Date.now(), cancelling: false });
    // First, so that whoever hears of it finds the result.
    this.past.add(job);
    this.tell(job, error ? { type: 'failed', error } : { type: state as 'done' | 'cancelled' });
    job.log.end();
  }

  private tell(job: Mutable, event: JobEvent): void {
    job.log.push(event);
    for (const watcher of this.watchers) watcher(job, event);
  }
}

class OutOfTime extends Error {
  readonly error: JobError;

  constructor(seconds: number) {
    super(`the job ran longer than ${seconds} s`);
    this.error = { code: 'TIMEOUT', message: `${this.message}, which is its limit` };
  }
}

/** An error as data. What is none of ours is not for clients to read. */
export function jobError(error: unknown): JobError {
  if (!(error instanceof DejaDitError)) return { code: 'RUNTIME', message: 'internal error' };
  const { code, message, path } = error;
  return { code, message, ...(path === undefined ? {} : { path }) };
}
