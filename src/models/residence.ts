/** Where a model computes: with the programs that it was loaded with, or with others that it has been moved to. Its weights stay where they are. */
import type { ProgramCache } from '../runtime/program-cache.ts';
import type { Occupancy } from './occupancy.ts';
import type { SpanRunner } from './spans/span.ts';

export class Residence {
  private current: { programs: ProgramCache; runner: SpanRunner };

  /** @param home what the model was loaded with */
  constructor(
    readonly home: ProgramCache,
    private readonly options: { occupancy: Occupancy; newRunner: (programs: ProgramCache) => SpanRunner },
  ) {
    this.current = this.at(home);
  }

  get programs(): ProgramCache {
    return this.current.programs;
  }

  get runner(): SpanRunner {
    return this.current.runner;
  }

  /**
   * Computes with other programs from now on, whose backend takes the tensors of the one that the weights are on.
   * @param programs disposed when they are left, their backend too; undefined: home
   * @param onLeave called where nothing is under way
   * @throws DejaDitError BUSY while a request is under way
   */
  moveTo(programs: ProgramCache = this.home, onLeave?: () => void): void {
    if (programs === this.current.programs) return;
    const unlock = this.options.occupancy.lock('moving it to other programs');
    try {
      onLeave?.();
      const before = this.current;
      this.current = this.at(programs);
      void this.leave(before);
    } finally {
      unlock();
    }
  }

  /** Gives back what is not home's. No other run begins. */
  async leave({ programs, runner } = this.current): Promise<void> {
    await runner.dispose();
    if (programs === this.home) return;
    // Who asks after it is told of home.
    if (this.current.programs === programs) this.current = { programs: this.home, runner };
    await programs.dispose();
    await programs.backend.dispose();
  }

  private at(programs: ProgramCache) {
    return { programs, runner: this.options.newRunner(programs) };
  }
}
