/**
 * DBCache (cache-dit) on one block group during one request: runs the first F blocks, decides, runs or forecasts the middle,
 * runs the last B. The decision itself is `decide.ts`.
 */
import type { Piece } from '../../models/pieces.ts';
import type { Backend } from '../../runtime/backend.ts';
import type { BlockGroup } from '../adapters/block-group.ts';
import type { CacheConfig, DBCacheConfig } from '../config/cache-config.ts';
import type { CalibratorConfig } from '../config/calibrator-config.ts';
import { decideByDiff, preDecide } from '../decide/decide.ts';
import type { Resolved } from '../decide/resolved-config.ts';
import { beginStep, type CacheState, newCacheState } from '../decide/state.ts';
import type { CallRecord } from '../report/stats.ts';
import { CachedRange } from './cached-range.ts';
import type { Flow } from './flow.ts';

export interface GroupCacheOptions<C extends CacheConfig = DBCacheConfig> {
  group: BlockGroup;
  config: Resolved<C>;
  calibratorConfig: CalibratorConfig | null;
  backend: Backend;
}

/** What a session asks of a cache, whatever it covers. */
export interface RequestCache {
  readonly state: CacheState;
  /** Every call in order. */
  readonly calls: readonly CallRecord[];
  /** Bytes of the tensors remembered now, all branches together. */
  readonly bytes: number;
  /** Frees all tensors. */
  clear(): void;
}

/** The cache of one block group. */
export interface GroupCache extends RequestCache {
  /** Adds this group's share of a call to the flow. Runs what has been collected only if a decision needs a number. */
  forward(flow: Flow, branch: string | undefined): Promise<void>;
}

export class DualBlockCache implements GroupCache {
  readonly state: CacheState = newCacheState();
  readonly calls: CallRecord[] = [];
  private readonly middle: CachedRange;
  private readonly last: readonly Piece[];

  constructor(private readonly options: GroupCacheOptions) {
    const { group, config } = options;
    const { fnComputeBlocks: first, bnComputeBlocks: last } = config;
    // Where first and last blocks may overlap (`Semantics.overlap`), nothing is left in the middle.
    const end = Math.max(first, group.count - last);
    this.middle = new CachedRange({
      ...options,
      first: group.range(0, first),
      blocks: [...group.range(first, end - 1), ...group.range(Math.max(first, end - 1), end)],
    });
    this.last = group.range(group.count - last, group.count);
  }

  get bytes(): number {
    return this.middle.bytes;
  }

  async forward(flow: Flow, branch: string | undefined): Promise<void> {
    const { state, last } = this;
    const { config, group } = this.options;
    if (beginStep({ state, config, branch }) !== undefined) this.clear();
    const { current } = state;
    flow.add(group.enter);
    const decision = await this.middle.forward(flow, {
      ...current,
      early: ({ shapeChanged }) => preDecide({ state, config, shapeChanged }),
      byDiff: (diff) => decideByDiff({ state, config, diff }),
    });
    this.calls.push({ ...decision, ...current });
    flow.add(...last, group.leave);
  }

  clear(): void {
    this.middle.clear();
  }
}
