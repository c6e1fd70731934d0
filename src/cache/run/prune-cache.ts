/**
 * DBPrune (cache-dit) on one block group during one request: every block but the protected ones is run or replaced by a forecast
 * of what it adds, by how far its input has moved since it was last run. The decision itself is `dbprune.ts`.
 */

import type { DBPruneConfig } from '../config/cache-config.ts';
import { endPruneStep, isProtected, prePrune, pruneByDiff } from '../decide/dbprune.ts';
import type { Decision } from '../decide/gates.ts';
import { beginStep, type CacheState, newCacheState } from '../decide/state.ts';
import { type CallRecord, pruneCall } from '../report/stats.ts';
import { CachedRange } from './cached-range.ts';
import type { Flow } from './flow.ts';
import type { GroupCache, GroupCacheOptions } from './group-cache.ts';

/** With `forceReduceCalibratorVram` only every 4th channel of a block's input is kept. */
const REDUCED_CHANNELS = 4;

export class PruneCache implements GroupCache {
  readonly state: CacheState = newCacheState();
  readonly calls: CallRecord[] = [];
  /** By block; none for a protected one. */
  private readonly ranges: readonly (CachedRange | undefined)[];

  constructor(private readonly options: GroupCacheOptions<DBPruneConfig>) {
    const { group, config, calibratorConfig } = options;
    const downsampleFactor =
      config.forceReduceCalibratorVram && calibratorConfig !== null
        ? Math.max(REDUCED_CHANNELS, config.downsampleFactor)
        : config.downsampleFactor;
    this.ranges = Array.from({ length: group.count }, (_, block) =>
      isProtected({ config, block, blocks: group.count })
        ? undefined
        : new CachedRange({
            ...options,
            config: { ...config, downsampleFactor },
            first: [],
            blocks: group.range(block, block + 1),
          }),
    );
  }

  get bytes(): number {
    return this.ranges.reduce((total, range) => total + (range?.bytes ?? 0), 0);
  }

  async forward(flow: Flow, branch: string | undefined): Promise<void> {
    const { state, ranges } = this;
    const { config, group } = this.options;
    if (beginStep({ state, config, branch }) !== undefined) this.clear();
    const { current } = state;
    flow.add(group.enter);
    const decisions: Decision[] = [];
    const notes: string[] = [];
    for (const [block, range] of ranges.entries()) {
      const args = { state, config, block, blocks: group.count };
      if (!range) {
        flow.add(...group.range(block, block + 1));
        decisions.push(prePrune(args)!);
        continue;
      }
      const { note, ...decision } = await range.forward(flow, {
        ...current,
        early: ({ shapeChanged }) => prePrune({ ...args, shapeChanged }),
        byDiff: (diff) => pruneByDiff({ ...args, diff }),
      });
      decisions.push(decision);
      if (note !== undefined) notes.push(`block ${block}: ${note}`);
    }
    endPruneStep({ state, config, blocks: group.count });
    this.calls.push({ ...pruneCall(decisions, current), ...(notes.length > 0 ? { note: notes.join('; ') } : {}) });
    flow.add(group.leave);
  }

  clear(): void {
    for (const range of this.ranges) range?.clear();
  }
}
