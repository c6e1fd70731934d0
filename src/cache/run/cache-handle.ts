/**
 * A cache for one transformer: its settings, and the sessions that it makes of requests. Whose it is, a model's by default or
 * one request's, is decided elsewhere (`enable-cache.ts`, `request-sessions.ts`).
 */
import { DejaDitError } from '../../errors/errors.ts';
import { WarningLog } from '../../errors/warnings.ts';
import type { ForwardSession, SessionFactory, SessionOptions } from '../../models/transformer-model.ts';
import { int8ProductOf } from '../../weights/formats/held-parts.ts';
import { type AdapterPart, groupsOf } from '../adapters/block-adapter.ts';
import type { BlockGroup } from '../adapters/block-group.ts';
import { type CacheConfig, isPrune } from '../config/cache-config.ts';
import type { CalibratorConfig } from '../config/calibrator-config.ts';
import { assertPrunable } from '../decide/dbprune.ts';
import { checkBlocks, type Resolved, resolveForSteps } from '../decide/resolved-config.ts';
import { semanticsOf } from '../decide/semantics.ts';
import { newCacheState } from '../decide/state.ts';
import { advise } from '../report/advise.ts';
import { buildStats, type CacheStats } from '../report/stats.ts';
import { BlockCacheSession, CacheSession, EasyCacheSession } from './cache-session.ts';
import { EasyCache } from './easy-cache.ts';
import { DualBlockCache, type GroupCache } from './group-cache.ts';
import { PruneCache } from './prune-cache.ts';

export interface CacheSettings {
  cacheConfig: CacheConfig;
  calibratorConfig: CalibratorConfig | null;
}

export class CacheHandle implements SessionFactory {
  /** The block groups that are cached, in order, each with its settings; none where whole calls are. */
  private readonly groups: readonly BlockGroup[];
  /** The request that began last. */
  private latest: CacheSession | undefined;
  private readonly given = new Set<string>();

  /**
   * @param settings one per `cacheUnits(part)`, in order
   * @param warnings of the request that the cache is made for, if it is one's own
   * @throws DejaDitError INVALID_CONFIG or UNSUPPORTED naming the field that this transformer cannot run with
   */
  constructor(
    readonly part: AdapterPart,
    readonly settings: readonly CacheSettings[],
    warnings = new WarningLog(),
  ) {
    const [{ cacheConfig, calibratorConfig }] = settings as [CacheSettings];
    this.groups = cacheConfig.cacheType === 'EasyCache' ? [] : groupsOf(part.sections);
    if (this.groups.length === 0 && calibratorConfig) {
      throw new DejaDitError('INVALID_CONFIG', 'EasyCache forecasts in a way of its own; leave it out', {
        path: 'calibratorConfig',
      });
    }
    for (const [i, group] of this.groups.entries()) checkGroup(group, settings[i]!.cacheConfig);
    this.advise(warnings, {});
  }

  newSession({ numInferenceSteps, loras, warnings = new WarningLog() }: SessionOptions): CacheSession {
    const { model, sections } = this.part;
    const steps = numInferenceSteps ?? null;
    this.advise(warnings, { steps });
    const onEnd = ({ failed }: { failed: boolean }) => {
      if (!failed) this.advise(warnings, { steps, session });
    };
    const configs = this.settings.map(({ cacheConfig }) => this.resolve(cacheConfig, steps));
    const session: CacheSession =
      this.groups.length > 0
        ? new BlockCacheSession({
            model,
            loras,
            sections,
            caches: this.groups.map((_, i) => this.groupCache(i, configs[i]!)),
            onEnd,
          })
        : new EasyCacheSession({ model, loras, cache: new EasyCache(model, configs[0]!), onEnd });
    this.latest = session;
    return session;
  }

  /** Statistics of a request, finished or in progress, per block group. Default: the latest. */
  stats(request: ForwardSession | undefined = this.latest): CacheStats[] {
    const session = request instanceof CacheSession ? request : undefined;
    const { weights, programs } = this.part.model;
    return this.settings.map(({ cacheConfig, calibratorConfig }, i) => {
      const cache = session?.caches[i];
      return buildStats({
        transformer: this.part.name,
        blocks: this.groups[i]?.name ?? 'all',
        config: cacheConfig,
        calibratorConfig,
        state: cache?.state ?? newCacheState(),
        calls: cache?.calls ?? [],
        blockCosts: this.blockCosts(i, session),
        peakBytes: session?.peakBytes ?? 0,
        programs: programs.stats,
        spans: this.part.model.runner.stats,
        int8Product: int8ProductOf(weights, programs.backend.capabilities),
        ranks: programs.backend.ranksReport ?? null,
      });
    });
  }

  private blockCosts(index: number, session: CacheSession | undefined): number[] | undefined {
    const group = this.groups[index];
    // A skipped call costs nothing, all others the same.
    if (!group) return [1];
    const costs = group.blockPaths.map((path) => session?.blockFlops.get(path));
    return costs.every((cost) => cost !== undefined) ? costs : undefined;
  }

  private groupCache(index: number, config: Resolved): GroupCache {
    const { calibratorConfig } = this.settings[index]!;
    const options = { group: this.groups[index]!, calibratorConfig, backend: this.part.model.programs.backend };
    return isPrune(config) ? new PruneCache({ ...options, config }) : new DualBlockCache({ ...options, config });
  }

  private resolve(config: CacheConfig, steps: number | null): Resolved {
    const enableSeparateCfg = config.enableSeparateCfg ?? this.part.hasSeparateCfg;
    // A pipeline knows its steps; only bare calls have to be counted into requests.
    const numInferenceSteps = semanticsOf(config).requestSteps(steps) ?? config.numInferenceSteps;
    return resolveForSteps({ ...config, enableSeparateCfg, numInferenceSteps }, numInferenceSteps ?? steps);
  }

  /** Says why the settings do less than they promise: to every request, and aloud each thing once. */
  private advise(warnings: WarningLog, { steps, session }: { steps?: number | null; session?: CacheSession }): void {
    for (const [i, { cacheConfig: config, calibratorConfig }] of this.settings.entries()) {
      const calls = session?.caches[i]?.calls;
      const about = {
        config,
        calibratorConfig,
        ...(this.groups[i] ? { blocks: this.groups[i].count } : {}),
        ...(typeof steps === 'number' && config.numInferenceSteps === null ? { steps } : {}),
        ...(calls ? { calls } : {}),
      };
      for (const { code, message } of advise(about)) {
        // What was observed differs from request to request; that nothing was re-used does not.
        const key = code === 'never_observed' ? code : message;
        warnings.add(`cacheConfig: ${message}`, { shown: this.given.has(key) });
        this.given.add(key);
      }
    }
  }
}

/** How many caches with settings of their own a transformer takes: one per block group, or one in all. */
export const cacheUnits = (part: AdapterPart, { cacheType }: CacheConfig): number =>
  cacheType === 'EasyCache' ? 1 : groupsOf(part.sections).length;

function checkGroup({ name, count, lists, longSkips }: BlockGroup, config: CacheConfig): void {
  checkBlocks(config, { blocks: count, path: name, longSkips });
  if (isPrune(config)) for (const { pattern } of lists) assertPrunable(config, pattern);
}
