/**
 * A cache on one transformer: its settings per block group, the sessions it makes for requests, and what is known of the latest
 * one. It hangs on no model; `enable-cache.ts` keeps the list of who has one.
 */
import { warn } from '../errors/warnings.ts';
import type { ForwardSession, SessionOptions } from '../models/transformer-model.ts';
import { advise } from './advise.ts';
import { type AdapterPart, groupsOf } from './block-adapter.ts';
import { CacheSession } from './cache-session.ts';
import type { CalibratorConfig } from './calibrator-config.ts';
import { type CacheConfig, checkBlocks, isPrune, resolveForSteps } from './config.ts';
import { assertPrunable } from './dbprune.ts';
import { DualBlockCache, type GroupCache } from './group-cache.ts';
import { PruneCache } from './prune-cache.ts';
import { newCacheState } from './state.ts';
import { buildStats, type CacheStats } from './stats.ts';

export interface GroupSettings {
  cacheConfig: CacheConfig;
  calibratorConfig: CalibratorConfig | null;
}

export class CacheHandle {
  /** The request that began last. */
  private latest: CacheSession | undefined;
  private readonly given = new Set<string>();

  /**
   * @param groups settings of the part's block groups, in order
   * @throws DejaDitError INVALID_CONFIG or UNSUPPORTED naming the field that these blocks cannot run with
   */
  constructor(
    readonly part: AdapterPart,
    readonly groups: readonly GroupSettings[],
  ) {
    for (const [i, group] of groupsOf(part.sections).entries()) {
      const { cacheConfig } = groups[i]!;
      checkBlocks(cacheConfig, { blocks: group.count, path: group.name });
      if (isPrune(cacheConfig)) for (const { pattern } of group.lists) assertPrunable(cacheConfig, pattern);
    }
    this.advise({});
  }

  newSession({ numInferenceSteps }: SessionOptions): ForwardSession {
    const { model, sections, hasSeparateCfg } = this.part;
    const steps = numInferenceSteps ?? null;
    this.advise({ steps });
    const caches = groupsOf(sections).map((group, i): GroupCache => {
      const { cacheConfig, calibratorConfig } = this.groups[i]!;
      // A pipeline knows its steps; only bare calls have to be counted into requests.
      const known = cacheConfig.compat ? null : steps;
      const config = resolveForSteps(
        {
          ...cacheConfig,
          enableSeparateCfg: cacheConfig.enableSeparateCfg ?? hasSeparateCfg,
          numInferenceSteps: known ?? cacheConfig.numInferenceSteps,
        },
        known ?? cacheConfig.numInferenceSteps ?? steps,
      );
      const rest = { group, calibratorConfig, backend: model.programs.backend };
      return isPrune(config) ? new PruneCache({ ...rest, config }) : new DualBlockCache({ ...rest, config });
    });
    const session = new CacheSession({
      model,
      sections,
      caches,
      onEnd: ({ failed }) => {
        if (!failed) this.advise({ steps, caches });
      },
    });
    this.latest = session;
    return session;
  }

  /** Statistics of the latest request, finished or in progress, per block group. */
  get stats(): CacheStats[] {
    const { latest } = this;
    return groupsOf(this.part.sections).map((group, i) => {
      const { cacheConfig, calibratorConfig } = this.groups[i]!;
      const cache = latest?.caches[i];
      const costs = group.blockPaths.map((path) => latest?.blockFlops.get(path));
      return buildStats({
        transformer: this.part.name,
        blocks: group.name,
        config: cacheConfig,
        calibratorConfig,
        state: cache?.state ?? newCacheState(),
        calls: cache?.calls ?? [],
        blockCosts: costs.every((cost) => cost !== undefined) ? costs : undefined,
        peakBytes: latest?.peakBytes ?? 0,
        programs: this.part.model.programs.stats,
      });
    });
  }

  /** Says why the settings do less than they promise, each thing once. */
  private advise({ steps, caches }: { steps?: number | null; caches?: readonly GroupCache[] }): void {
    for (const [i, group] of groupsOf(this.part.sections).entries()) {
      const { cacheConfig: config, calibratorConfig } = this.groups[i]!;
      const calls = caches?.[i]?.calls;
      const about = {
        config,
        calibratorConfig,
        blocks: group.count,
        ...(typeof steps === 'number' && config.numInferenceSteps === null ? { steps } : {}),
        ...(calls ? { calls } : {}),
      };
      for (const { code, message } of advise(about)) {
        // What was observed differs from request to request; that nothing was re-used does not.
        const key = code === 'never_observed' ? code : message;
        if (this.given.has(key)) continue;
        this.given.add(key);
        warn(`cacheConfig: ${message}`);
      }
    }
  }
}
