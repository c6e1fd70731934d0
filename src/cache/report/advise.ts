/**
 * Why a cache does nothing, or less than it seems to promise: told at enable time where the settings show it, after a
 * request where its calls do. So "no step re-used" always has a reason and a suggestion.
 */

import { type CacheConfig, isPrune } from '../config/cache-config.ts';
import type { CalibratorConfig } from '../config/calibrator-config.ts';
import { type Rule, ruleOf, thresholdOf } from '../config/rule.ts';
import { isProtected } from '../decide/dbprune.ts';
import { gatesBeforeDiff } from '../decide/gates.ts';
import { ours } from '../decide/ours.ts';
import { type Resolved, resolveForSteps } from '../decide/resolved-config.ts';
import { type CallRecord, measuredDiffs } from './stats.ts';

export type AdviceCode =
  | 'never_by_limits' // a limit or the threshold forbids every re-use
  | 'never_by_blocks' // first, last and protected blocks are all blocks
  | 'never_by_steps' // warm-up and mask compute every step
  | 'mask_length' // the mask is for another number of steps
  | 'mask_cut' // max continuous cuts the mask's runs of cached steps
  | 'calibrator_late' // the forecaster has nothing to forecast from in the first run of cached steps
  | 'few_steps' // settings for long runs on a few-step model
  | 'never_observed'; // a request re-used nothing

export interface Advice {
  code: AdviceCode;
  /** What is the case and what to do about it, in one line. */
  message: string;
}

export interface AdviseInput {
  config: CacheConfig;
  calibratorConfig?: CalibratorConfig | null;
  /** Steps of a request, if they are known. */
  steps?: number | null;
  /** Blocks of the list, if they are known. */
  blocks?: number;
  /** Calls of a finished request. */
  calls?: readonly CallRecord[];
}

/** At most this many steps, and a model has been distilled to do with few. */
const FEW_STEPS = 9;

export function advise(input: AdviseInput): Advice[] {
  const { config, steps = config.numInferenceSteps } = input;
  if (config.cacheType === 'NONE') return [];
  const advice = [...byLimits(config), ...byBlocks(input)];
  if (steps !== null) advice.push(...bySteps({ ...input, steps, config: resolveForSteps(config, steps) }));
  if (input.calls !== undefined && advice.every(({ code }) => !code.startsWith('never'))) {
    advice.push(...byCalls({ config, calls: input.calls }));
  }
  return advice;
}

function byLimits(config: CacheConfig): Advice[] {
  const never = (setting: string, suggestion: string): Advice => ({
    code: 'never_by_limits',
    message: `${setting} never re-uses a step; ${suggestion}`,
  });
  const advice: Advice[] = [];
  const rule = ruleOf(config);
  if (rule.kind === 'mask') return advice;
  if (config.maxCachedSteps === 0) advice.push(never('maxCachedSteps 0', 'set -1 for no limit'));
  if (config.maxContinuousCachedSteps === 0) advice.push(never('maxContinuousCachedSteps 0', 'set -1 for no limit'));
  if (rule.kind === 'error_budget') {
    if (rule.budget === 0) advice.push(never('errorBudget 0', 'try 0.015 to 0.13'));
  } else if (config.residualDiffThreshold <= 0) advice.push(never('residualDiffThreshold 0', 'try 0.12 to 0.24'));
  return advice;
}

function byBlocks({ config, blocks }: AdviseInput): Advice[] {
  if (blocks === undefined) return [];
  const { fnComputeBlocks: first, bnComputeBlocks: last } = config;
  const ids = Array.from({ length: blocks }, (_, block) => block);
  const all = isPrune(config) ? ids.every((block) => isProtected({ config, block, blocks })) : first + last >= blocks;
  if (!all) return [];
  const message = `fnComputeBlocks ${first} and bnComputeBlocks ${last} leave none of the ${blocks} blocks to skip; lower them`;
  return [{ code: 'never_by_blocks', message }];
}

function bySteps(input: AdviseInput & { steps: number; config: Resolved }): Advice[] {
  const { config, steps } = input;
  const advice: Advice[] = [];
  const mask = config.stepsComputationMask;
  const eligible = Array.from({ length: steps }, (_, step) => step).filter((step) => isEligible(config, step));
  if (steps === 1) {
    advice.push({ code: 'never_by_steps', message: 'a single step has none before it to re-use; disable the cache' });
  } else if (eligible.length === 0) {
    const setting = mask?.every((value) => value === 1)
      ? 'the steps mask has no 0'
      : `maxWarmupSteps ${config.maxWarmupSteps}`;
    const suggestion = mask === null ? `set it to ${Math.max(1, Math.floor(steps / 3))}` : 'give a mask with zeros';
    advice.push({ code: 'never_by_steps', message: `all ${steps} steps are computed: ${setting}; ${suggestion}` });
  }
  if (mask !== null && mask.length !== steps) {
    const beyond = config.stepsComputationPolicy === 'static' ? 'computed' : 'decided without mask';
    const rest = mask.length < steps ? `the steps beyond it are ${beyond}` : 'its end is never reached';
    const message = `the steps mask has ${mask.length} entries for ${steps} steps: ${rest}; name a policy instead of a list`;
    advice.push({ code: 'mask_length', message });
  }
  const { maxContinuousCachedSteps: run } = config;
  const longest = longestRun(mask ?? []);
  if (config.stepsComputationPolicy === 'dynamic' && run >= 0 && longest > run) {
    const message = `maxContinuousCachedSteps ${run} cuts the mask's runs of up to ${longest} cached steps; set -1 to follow the mask`;
    advice.push({ code: 'mask_cut', message });
  }
  const firstEligible = eligible[0] ?? steps;
  const calibrator = input.calibratorConfig;
  const { rule, semantics } = config;
  // with the first computed step, the lag and the one after it
  const stepsToDifference = semantics.taylorLag + 2;
  const isLate = semantics.taylorLag > 0 && firstEligible < Math.min(stepsToDifference, steps);
  if (calibrator?.type === 'taylorseer' && isLate) {
    const message = `TaylorSeer in compat mode has no difference before the 4th computed step: the first run of cached steps after ${firstEligible} is plain re-use; set maxWarmupSteps 4`;
    advice.push({ code: 'calibrator_late', message });
  }
  if (steps <= FEW_STEPS && mask === null && eligible.length > 0 && 'threshold' in rule && rule.threshold < 0.5) {
    const message = `with ${steps} steps neighbours differ much: threshold ${rule.threshold} will hardly be met; try residualDiffThreshold 0.5 to 0.8 with maxContinuousCachedSteps 1`;
    advice.push({ code: 'few_steps', message });
  }
  return advice;
}

/** Whether a step could be re-used if its diff were small and something had been computed. */
function isEligible(config: Resolved, step: number): boolean {
  const rule: Rule = config.rule.kind === 'mask' ? config.rule : { kind: 'threshold', threshold: 1 };
  const decision = gatesBeforeDiff({
    config: { ...config, rule, semantics: ours },
    step,
    threshold: 1,
    cached: -1,
    continuous: -1,
    accumulated: 0,
    remembers: step > 0,
    shapeChanged: false,
  });
  return decision?.action === 'reuse';
}

function longestRun(mask: readonly number[]): number {
  let longest = 0;
  let run = 0;
  for (const value of mask) {
    run = value === 0 ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest;
}

function byCalls({ config, calls }: { config: CacheConfig; calls: readonly CallRecord[] }): Advice[] {
  if (calls.length === 0 || calls.some(({ action }) => action === 'reuse')) return [];
  const counts = new Map<string, number>();
  for (const { gate } of calls) counts.set(gate, (counts.get(gate) ?? 0) + 1);
  const reasons = [...counts].map(([gate, count]) => `${count} by ${gate}`).join(', ');
  const rule = ruleOf(config);
  const diffs = measuredDiffs(calls).sort((a, b) => a - b);
  const observed =
    diffs.length === 0
      ? 'no diff was ever compared'
      : rule.kind === 'error_budget'
        ? `the visible errors lay between ${round(diffs[0]!)} and ${round(diffs.at(-1)!)} and the budget is ` +
          `${rule.budget}; errorBudget ${above(diffs[diffs.length >> 1]!)} would let half of them pass`
        : `the diffs lay between ${round(diffs[0]!)} and ${round(diffs.at(-1)!)} and the threshold is ` +
          `${thresholdOf(rule)}; residualDiffThreshold ${above(diffs[diffs.length >> 1]!)} would let half of them pass`;
  return [{ code: 'never_observed', message: `none of ${calls.length} calls re-used (${reasons}): ${observed}` }];
}

const round = (value: number) => Number(value.toPrecision(2));
/** The next number of two digits above. */
const above = (value: number) => round(round(value) + 10 ** (Math.floor(Math.log10(value)) - 1));
