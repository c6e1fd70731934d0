/** The recordings of cache-dit 1.3.5, call by call: same decision, by the same gate, with the same counters. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type DBPruneConfig, parseCacheConfig } from '../config/cache-config.ts';
import { applyModifier } from '../config/params-modifier.ts';
import { cacheTag } from '../report/tag.ts';
import { endPruneStep, prePrune, pruneByDiff } from './dbprune.ts';
import { decideByDiff, preDecide } from './decide.ts';
import { type Resolved, resolveForSteps } from './resolved-config.ts';
import { beginStep, branchState, type CacheState, COND, newCacheState, UNCOND } from './state.ts';

type CacheRow = [
  request: number,
  step: number,
  branch: string,
  transformer: number,
  list: string,
  cached: boolean,
  diff: number | null,
  gate: string,
  ctxStep: number,
  ctxTransformerStep: number,
  ctxIsCfg: boolean,
  threshold: number | null,
  accumulated: number,
];
type BlockRow = [
  list: string,
  block: number,
  pruned: boolean,
  gate: string,
  diff: number | null,
  threshold: number | null,
];
type PruneRow = [request: number, step: number, branch: string, transformer: number, blocks: BlockRow[]];

interface Trace {
  name: string;
  config: Record<string, unknown>;
  paramsModifiers: Record<string, unknown>[] | null;
  refreshBetween: boolean;
  contexts: Record<string, never>[];
  calls: CacheRow[] | PruneRow[];
}

const folder = new URL('../../../fixtures/cache/traces/', import.meta.url);
const models = readdirSync(folder).sort();
const tracesOf = (file: string): Trace[] => JSON.parse(readFileSync(new URL(file, folder), 'utf8')).traces;

/** One state and config per block list of each transformer, as cache-dit has contexts. */
function contextsOf(trace: Trace) {
  const base = parseCacheConfig({ enable_separate_cfg: false, ...trace.config, compat: 'cache-dit' });
  const contexts = trace.contexts.map((expected, index) => {
    const modifier = trace.paramsModifiers?.[index];
    const { cacheConfig } = applyModifier(
      { cacheConfig: base, calibratorConfig: null },
      { cacheConfig: modifier ?? {} },
    );
    return { expected, config: resolveForSteps(cacheConfig), state: newCacheState() };
  });
  const find = (transformer: number, list: string) =>
    contexts.find(({ expected }) => expected['transformer'] === transformer && expected['list'] === list)!;
  return { contexts, find };
}

/** Counters and tag at the end, under the names of cache-dit. */
function summaryOf({ state, config }: { state: CacheState; config: Resolved }) {
  // its config loses the hint of a refresh that was forced "once"
  const { forceRefreshStepHint } = state.refreshedOnce ? { forceRefreshStepHint: null } : config;
  const [cond, uncond] = [branchState(state, COND), branchState(state, UNCOND)];
  return {
    cached_steps: cond.cachedSteps,
    cfg_cached_steps: uncond.cachedSteps,
    executed_steps: state.executedSteps,
    transformer_executed_steps: state.transformerExecutedSteps,
    accumulated_cached_steps: cond.accumulatedCachedSteps,
    cfg_accumulated_cached_steps: uncond.accumulatedCachedSteps,
    accumulated_executed_steps: state.accumulatedExecutedSteps,
    accumulated_transformer_executed_steps: state.accumulatedTransformerExecutedSteps,
    accumulated_residual_diff: cond.accumulatedDiff,
    cfg_accumulated_residual_diff: uncond.accumulatedDiff,
    strify: cacheTag({ ...config, forceRefreshStepHint }),
  };
}

function replayCache(trace: Trace): number {
  const { contexts, find } = contextsOf(trace);
  let request = 0;
  for (const row of trace.calls as CacheRow[]) {
    const [nextRequest, , , transformer, list, cached, diff, gate, ctxStep, ctxTransformerStep, isCfg, threshold, sum] =
      row;
    if (nextRequest !== request && trace.refreshBetween)
      for (const context of contexts) context.state = newCacheState();
    request = nextRequest;

    const { state, config } = find(transformer, list);
    beginStep({ state, config });
    let asked = false;
    const measure = () => {
      asked = true;
      return diff!;
    };
    const decision = preDecide({ state, config }) ?? decideByDiff({ state, config, diff: measure() });
    const { step, branch } = state.current;
    expect([
      decision.action === 'reuse',
      decision.gate,
      decision.diff,
      step,
      state.transformerExecutedSteps - 1,
      branch === UNCOND,
      branchState(state, branch).accumulatedDiff,
    ]).toEqual([cached, gate, diff, ctxStep, ctxTransformerStep, isCfg, sum]);
    if (threshold !== null) expect(decision.threshold).toBe(threshold);
    if (diff === null) expect(asked).toBe(false);
    expect(decision.reason).not.toBe('');
  }
  for (const { expected, config, state } of contexts) {
    const summary = summaryOf({ state, config });
    // cache-dit looks once more whether to refresh before it reports; then only totals are left to see
    const emptied = expected['executed_steps'] === 0;
    if (emptied) expect(state.transformerExecutedSteps).toBe(config.forceRefreshStepHint);
    const left = emptied
      ? Object.entries(summary).filter(([name]) => /^(cfg_)?accumulated_.*steps$/.test(name))
      : undefined;
    expect(expected).toMatchObject(left ? Object.fromEntries(left) : summary);
  }
  return trace.calls.length;
}

function replayPrune(trace: Trace): number {
  const { contexts, find } = contextsOf(trace);
  for (const [, , , transformer, rows] of trace.calls as PruneRow[]) {
    const { state, config, expected } = find(transformer, rows[0]![0]);
    const args = { state, config: config as Resolved<DBPruneConfig>, blocks: expected['actual_blocks']![0] as number };
    beginStep(args);
    for (let block = 0; block < args.blocks; block++) {
      const row = rows.find(([, index]) => index === block);
      const decision = prePrune({ ...args, block }) ?? pruneByDiff({ ...args, block, diff: row![4]! });
      expect(decision.gate === 'protected').toBe(row === undefined);
      if (row === undefined) continue;
      const [, , pruned, gate, diff, threshold] = row;
      expect([decision.action === 'reuse', decision.gate, decision.diff]).toEqual([pruned, gate, diff]);
      if (threshold !== null) expect(decision.threshold).toBeCloseTo(threshold, 14);
    }
    endPruneStep(args);
  }
  for (const { expected, config, state } of contexts) {
    const [cond, uncond] = [branchState(state, COND), branchState(state, UNCOND)];
    expect(expected).toMatchObject({
      ...summaryOf({ state, config }),
      pruned_blocks: cond.prunedBlocks,
      actual_blocks: cond.actualBlocks,
      cfg_pruned_blocks: uncond.prunedBlocks,
      cfg_actual_blocks: uncond.actualBlocks,
    });
  }
  return trace.calls.length;
}

describe.each(models)('recorded traces of %s', (file) => {
  it.each(tracesOf(file).map((trace) => [trace.name, trace] as const))('%s', (_, trace) => {
    const calls = trace.config['cache_type'] === 'DBPrune' ? replayPrune(trace) : replayCache(trace);
    expect(calls).toBeGreaterThan(0);
  });
});

describe('recorded runs of the bundled model', () => {
  interface Run {
    run: string;
    name: string;
    steps: number;
    config: Record<string, unknown>;
    cached_steps: number[];
    cfg_cached_steps: number[];
    residual_diffs: Record<string, number>;
    cfg_residual_diffs: Record<string, number>;
    taylorseer_order: number | null;
  }
  const runs: Run[] = JSON.parse(readFileSync(new URL('../emoji-runs.json', folder), 'utf8'));

  it.each(runs.map((run) => [run.run, run.name, run] as const))('%s %s', (_run, _name, run) => {
    const config = resolveForSteps(parseCacheConfig({ ...run.config, compat: 'cache-dit' }), run.steps);
    const state = newCacheState();
    for (let call = 0; call < run.steps * (config.enableSeparateCfg ? 2 : 1); call++) {
      beginStep({ state, config });
      const diffs = state.current.branch === COND ? run.residual_diffs : run.cfg_residual_diffs;
      if (preDecide({ state, config }) === undefined) decideByDiff({ state, config, diff: diffs[state.current.step]! });
    }
    const [cond, uncond] = [branchState(state, COND), branchState(state, UNCOND)];
    expect([cond.cachedSteps, uncond.cachedSteps]).toEqual([run.cached_steps, run.cfg_cached_steps]);
    expect([cond.residualDiffs, uncond.residualDiffs]).toEqual([run.residual_diffs, run.cfg_residual_diffs]);
  });
});
