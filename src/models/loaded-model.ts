/**
 * What every loaded model has: weights, the requests that use them, and the place where it computes, which is what it was loaded with or
 * another one that it has been moved to. Its weights stay where they are.
 */
import type { Backend } from '../runtime/backend.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';
import type { OffloadSummary } from '../weights/offload/weight-buckets.ts';
import type { Weights } from '../weights/weight-store.ts';
import { Occupancy } from './occupancy.ts';
import { SpanRunner, type SpanRunnerOptions } from './spans/span.ts';

export abstract class LoadedModel {
  abstract readonly definition: { readonly className: string; readonly config: Readonly<Record<string, unknown>> };
  /** The requests that use it, in which its weights must not change. */
  readonly occupancy: Occupancy;
  protected disposed = false;
  private backend: Backend | undefined;
  private current: { programs: ProgramCache; runner: SpanRunner };

  /** @param home what it was loaded with, wherever it computes now: its weights are there */
  constructor(
    readonly weights: Weights,
    readonly home: ProgramCache,
    private readonly options: SpanRunnerOptions,
  ) {
    this.occupancy = new Occupancy(options.owner);
    this.current = this.at(home);
  }

  get className(): string {
    return this.definition.className;
  }

  get config(): Readonly<Record<string, unknown>> {
    return this.definition.config;
  }

  get runner(): SpanRunner {
    return this.current.runner;
  }

  /** What it computes with. */
  get programs(): ProgramCache {
    return this.current.programs;
  }

  /** What `layerwiseOffload` does and has done so far; undefined for a model that was loaded whole. */
  get offloadSummary(): OffloadSummary | undefined {
    return this.weights.offloaded?.summary();
  }

  /** Makes the backend one that is disposed with the model. */
  own(backend: Backend): void {
    this.backend = backend;
  }

  /**
   * Computes with other programs from now on, whose backend takes the tensors of the one that the weights are on.
   * @param programs disposed when they are left, their backend too; undefined: those that it was loaded with
   * @throws DejaDitError BUSY while a request is under way
   */
  moveTo(programs: ProgramCache = this.home): void {
    if (programs === this.current.programs) return;
    const unlock = this.occupancy.lock('moving it to other programs');
    try {
      this.forget();
      const before = this.current;
      this.current = this.at(programs);
      void this.leave(before);
    } finally {
      unlock();
    }
  }

  /** Frees the weights, the programs that no other model uses, and the backend if it was made for this model. Requests under way end as DISPOSED after their current run. */
  async dispose(): Promise<void> {
    this.forget();
    this.disposed = true;
    await this.leave();
    await this.weights.dispose();
    await this.home.trim();
    await this.backend?.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Drops what is kept from call to call. */
  protected forget(): void {}

  /** Gives back what is not home's. No other run begins. */
  private async leave({ programs, runner } = this.current): Promise<void> {
    await runner.dispose();
    if (programs === this.home) return;
    // Who asks after it is told of home.
    if (this.current.programs === programs) this.current = { programs: this.home, runner };
    await programs.dispose();
    await programs.backend.dispose();
  }

  private at(programs: ProgramCache) {
    return { programs, runner: new SpanRunner(this.weights, programs, this.options) };
  }
}
