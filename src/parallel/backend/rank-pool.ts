/**
 * The ranks of this process, before anybody says how they work together: each has a backend to compute on and a group to talk to all others
 * in. Several crews may compute on them, each in a mesh of its own; here is kept that they do so one after the other.
 */
import type { Backend } from '../../runtime/backend.ts';
import type { ProgramCache } from '../../runtime/program-cache.ts';
import type { Collective } from '../collective/collective.ts';

export interface OpenRank {
  readonly rank: number;
  readonly programs: ProgramCache;
  readonly backend: Backend;
  readonly all: Collective;
}

export interface OpenRanks {
  /** Those of this process, in order. */
  readonly ranks: readonly OpenRank[];
  close(): Promise<void>;
}

/** Opened when it is first needed, and closed after the last crew. */
export class RankPool {
  private opened: Promise<OpenRanks> | undefined;
  /** By rank: what it does last. */
  private readonly latest: Promise<unknown>[];
  private users = 0;

  /** @param size of all ranks, wherever they are */
  constructor(
    readonly size: number,
    private readonly open: () => Promise<OpenRanks>,
  ) {
    this.latest = Array<Promise<unknown>>(size).fill(Promise.resolve());
  }

  async ranks(): Promise<readonly OpenRank[]> {
    this.opened ??= this.open();
    return (await this.opened).ranks;
  }

  /** Does what some ranks take part in after all that they were to do before, so that they make the same calls in the same order. */
  inTurn<T>(members: readonly number[], work: () => Promise<T>): Promise<T> {
    const result = Promise.all(members.map((rank) => this.latest[rank])).then(work);
    const settled = result.catch(() => undefined);
    for (const rank of members) this.latest[rank] = settled;
    return result;
  }

  retain(): void {
    this.users++;
  }

  async release(): Promise<void> {
    if (--this.users > 0) return;
    await Promise.all(this.latest);
    const opened = await this.opened?.catch(() => undefined);
    this.opened = undefined;
    await opened?.close();
  }
}
