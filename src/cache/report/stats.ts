/**
 * What a cache did, from its state and the list of its calls: the numbers of `summary`. Says nothing about what to
 * change; that is `advise.ts`.
 */

import type { SpanStats } from '../../models/spans/span.ts';
import type { Int8Product, RanksReport } from '../../runtime/backend.ts';
import type { ProgramCacheStats } from '../../runtime/program-cache.ts';
import { int8ProductOf } from '../../weights/formats/held-parts.ts';
import type { AdapterPart } from '../adapters/block-adapter.ts';
import { type CacheConfig, isPrune, parseCacheConfig } from '../config/cache-config.ts';
import type { CalibratorConfig } from '../config/calibrator-config.ts';
import type { Action, Decision } from '../decide/gates.ts';
import { branchState, type CacheState, COND, newCacheState, UNCOND } from '../decide/state.ts';

/** One model call of a request. */
export interface CallRecord extends Decision {
  step: number;
  branch: string;
  /** DBPrune: the decision of each block; `action` is `reuse` if any block was pruned. */
  blocks?: Decision[];
  /** What the forecaster did instead of what its name promises (`Forecast.note`). */
  note?: string;
}

/** A DBPrune call from the decisions of its blocks. Its diff is the mean of those measured. */
export function pruneCall(blocks: Decision[], at: { step: number; branch: string }): CallRecord {
  const pruned = blocks.filter(({ action }) => action === 'reuse').length;
  const free = blocks.filter(({ gate }) => gate !== 'protected');
  const diffs = free.flatMap(({ diff }) => (diff === null ? [] : [diff]));
  const [first] = free;
  return {
    ...at,
    action: pruned > 0 ? 'reuse' : 'compute',
    gate: first?.gate ?? 'protected',
    reason: pruned > 0 ? `pruned ${pruned} of ${blocks.length} blocks` : (first?.reason ?? 'all blocks protected'),
    diff: diffs.length > 0 ? diffs.reduce((total, diff) => total + diff, 0) / diffs.length : null,
    threshold: first?.threshold ?? null,
    blocks,
  };
}

export interface DiffStatistics {
  min: number;
  p25: number;
  p50: number;
  p75: number;
  p95: number;
  max: number;
}

type Diffs = Record<string, number | number[]>;

/** Field by field what cache-dit reports (`cfg...`: the unconditional branch), and what explains it. */
export interface CacheStats {
  /** The transformer's name in its pipeline, or its class name. */
  transformer: string;
  /** Name of the block group that the figures are of. */
  blocks: string;
  /** Null where no cache is enabled. */
  cacheOptions: { cacheConfig: CacheConfig; calibratorConfig: CalibratorConfig | null } | null;
  cachedSteps: number[];
  residualDiffs: Diffs;
  cfgCachedSteps: number[];
  cfgResidualDiffs: Diffs;
  accumulatedCachedSteps: number;
  cfgAccumulatedCachedSteps: number;
  accumulatedExecutedSteps: number;
  accumulatedTransformerExecutedSteps: number;
  /** DBPrune: steps that pruned; pruned blocks and blocks in all, by call; their ratio over the request, 0 to 1. */
  prunedSteps: number[];
  prunedBlocks: number[];
  actualBlocks: number[];
  prunedRatio: number | null;
  cfgPrunedSteps: number[];
  cfgPrunedBlocks: number[];
  cfgActualBlocks: number[];
  cfgPrunedRatio: number | null;
  /** Every call in order, with its reason. */
  calls: CallRecord[];
  /** Of all diffs measured in `calls`; null if none was. */
  diffs: DiffStatistics | null;
  /** Share of `calls` that computed all blocks, 0 to 1; NaN without calls. */
  computedShare: number;
  /** Share of the blocks' cost that was spent, 0 to 1; null while it is not known what every block costs. */
  flopsShare: number | null;
  /** The most bytes that the request remembered between two calls, all branches and block groups together. */
  peakBytes: number;
  /** Counters of the compiled programs, which all models with the same `ProgramCache` share. */
  programs: ProgramCacheStats | null;
  /** Counters of this transformer's spans, each of which goes with its program. */
  spans: SpanStats | null;
  /** How layers with int8 weights and activations multiply here; null if the model has none. */
  int8Product: Int8Product | null;
  /** What the ranks that compute the transformer have said to each other so far; null if there is one. */
  ranks: RanksReport | null;
}

export interface StatsInput
  extends Partial<
    Pick<CacheStats, 'transformer' | 'blocks' | 'peakBytes' | 'programs' | 'spans' | 'int8Product' | 'ranks'>
  > {
  state: CacheState;
  config: CacheConfig;
  calibratorConfig: CalibratorConfig | null;
  calls: readonly CallRecord[];
  /** Cost of each block of the group, in any unit. */
  blockCosts?: readonly number[] | undefined;
}

export function buildStats(input: StatsInput): CacheStats {
  const { state, config, calibratorConfig, calls, blockCosts } = input;
  const {
    transformer = '',
    blocks = '',
    peakBytes = 0,
    programs = null,
    spans = null,
    int8Product = null,
    ranks = null,
  } = input;
  const [cond, uncond] = [branchOf(state, { branch: COND, config }), branchOf(state, { branch: UNCOND, config })];
  return {
    transformer,
    blocks,
    cacheOptions: { cacheConfig: config, calibratorConfig },
    cachedSteps: cond.cachedSteps,
    residualDiffs: cond.diffs,
    cfgCachedSteps: uncond.cachedSteps,
    cfgResidualDiffs: uncond.diffs,
    accumulatedCachedSteps: cond.accumulatedCachedSteps,
    cfgAccumulatedCachedSteps: uncond.accumulatedCachedSteps,
    accumulatedExecutedSteps: state.accumulatedExecutedSteps,
    accumulatedTransformerExecutedSteps: state.accumulatedTransformerExecutedSteps,
    prunedSteps: cond.prunedSteps,
    prunedBlocks: cond.prunedBlocks,
    actualBlocks: cond.actualBlocks,
    prunedRatio: cond.prunedRatio,
    cfgPrunedSteps: uncond.prunedSteps,
    cfgPrunedBlocks: uncond.prunedBlocks,
    cfgActualBlocks: uncond.actualBlocks,
    cfgPrunedRatio: uncond.prunedRatio,
    calls: [...calls],
    diffs: diffStatistics(measuredDiffs(calls)),
    computedShare: calls.filter(({ action }) => action === 'compute').length / calls.length,
    flopsShare: blockCosts ? flopsShare({ config, calls, blockCosts }) : null,
    peakBytes,
    programs,
    spans,
    int8Product,
    ranks,
  };
}

/** Of a transformer without a cache. */
export function noStats({ name, model }: Pick<AdapterPart, 'name' | 'model'>): CacheStats {
  const config = parseCacheConfig({ cacheType: 'NONE' });
  const int8Product = int8ProductOf(model.weights, model.programs.backend.capabilities);
  const ranks = model.programs.backend.ranksReport ?? null;
  const state = newCacheState();
  const stats = buildStats({ transformer: name, state, config, calibratorConfig: null, calls: [], int8Product, ranks });
  return { ...stats, cacheOptions: null };
}

function branchOf(state: CacheState, { branch, config }: { branch: string; config: CacheConfig }) {
  const { cachedSteps, accumulatedCachedSteps, residualDiffs, blockDiffs, prunedBlocks, actualBlocks } =
    structuredClone(state.branches[branch] ?? branchState({ ...state, branches: {} }, branch));
  const prune = isPrune(config);
  const lists = Object.entries(blockDiffs).map(([step, diffs]) => [step, Object.values(diffs)]);
  return {
    cachedSteps,
    accumulatedCachedSteps,
    diffs: prune ? (Object.fromEntries(lists) as Diffs) : (residualDiffs as Diffs),
    prunedSteps: prune ? cachedSteps : [],
    prunedBlocks,
    actualBlocks,
    prunedRatio: actualBlocks.length > 0 ? sum(prunedBlocks) / sum(actualBlocks) : null,
  };
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** All diffs that were really measured: compat mode writes negative ones for "always" and "another shape". */
export const measuredDiffs = (calls: readonly CallRecord[]): number[] =>
  calls
    .flatMap((call) => (call.blocks ?? [call]).map(({ diff }) => diff))
    .filter((diff): diff is number => diff !== null && diff >= 0);

/** Quantiles by linear interpolation. Null without values. */
export function diffStatistics(values: readonly number[]): DiffStatistics | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (quantile: number) => {
    const position = quantile * (sorted.length - 1);
    const below = sorted[Math.floor(position)]!;
    return below + (position % 1) * (sorted[Math.ceil(position)]! - below);
  };
  return { min: at(0), p25: at(0.25), p50: at(0.5), p75: at(0.75), p95: at(0.95), max: at(1) };
}

/** Cost of the blocks that were run over that of all blocks on every call, 0 to 1; NaN without calls. */
export function flopsShare(args: {
  config: CacheConfig;
  calls: readonly CallRecord[];
  blockCosts: readonly number[];
}): number {
  const { calls, blockCosts } = args;
  const { fnComputeBlocks, bnComputeBlocks } = args.config;
  const all = sum(blockCosts);
  const wholeCalls = args.config.cacheType === 'EasyCache';
  const reused = wholeCalls
    ? 0
    : sum(blockCosts.slice(0, fnComputeBlocks)) + (bnComputeBlocks > 0 ? sum(blockCosts.slice(-bnComputeBlocks)) : 0);
  const costOf = ({ action, blocks }: { action: Action; blocks?: Decision[] }) => {
    if (blocks) return sum(blocks.map((block, i) => (block.action === 'compute' ? blockCosts[i]! : 0)));
    return action === 'compute' ? all : reused;
  };
  return sum(calls.map(costOf)) / (all * calls.length);
}
