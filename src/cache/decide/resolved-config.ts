/**
 * A cache's settings for a request: what depends on its number of steps is spelled out, what depends on the model's blocks is checked,
 * and which rule decides under which reading of the settings is chosen, once.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { type CacheConfig, isPrune } from '../config/cache-config.ts';
import { type Rule, ruleOf } from '../config/rule.ts';
import { type StepMask, stepsMask } from '../config/steps-mask.ts';
import { type Semantics, semanticsOf } from './semantics.ts';

const DEFAULT_WARMUP = 8;

/** A config for a known number of steps: the forms that depend on it are numbers and lists. */
export type Resolved<C extends CacheConfig = CacheConfig> = C & {
  maxWarmupSteps: number;
  stepsComputationMask: StepMask | null;
  readonly rule: Rule;
  readonly semantics: Semantics;
};

/** The config for a request of `steps` steps (default: `numInferenceSteps`): warm-up clipped, mask policy spelled out. */
export function resolveForSteps<C extends CacheConfig>(config: C, steps = config.numInferenceSteps): Resolved<C> {
  const third = steps === null ? DEFAULT_WARMUP : Math.max(1, Math.floor(steps / 3));
  const mask = config.stepsComputationMask;
  if (typeof mask === 'string' && steps === null) {
    throw new DejaDitError('INVALID_CONFIG', `"${mask}" needs the number of steps: set numInferenceSteps`, {
      path: 'cacheConfig.stepsComputationMask',
    });
  }
  return {
    ...config,
    maxWarmupSteps: config.maxWarmupSteps ?? Math.min(DEFAULT_WARMUP, third),
    stepsComputationMask:
      typeof mask === 'string'
        ? stepsMask({ maskPolicy: mask, totalSteps: steps ?? undefined, compat: config.compat ?? undefined })
        : mask,
    rule: ruleOf(config),
    semantics: semanticsOf(config),
  };
}

export interface CheckedBlocks {
  /** How many the list has. */
  blocks: number;
  /** The list's name. */
  path?: string;
  /** Whether its last blocks read what its first ones returned. */
  longSkips?: boolean;
}

/** Throws `INVALID_CONFIG` if a list cannot run with this F and B, or cannot be pruned. */
export function checkBlocks(config: CacheConfig, args: CheckedBlocks): void {
  const { fnComputeBlocks: first, bnComputeBlocks: last } = config;
  const fail = (field: string, reason: string) => {
    const path = args.path === undefined ? `cacheConfig.${field}` : `${args.path}: cacheConfig.${field}`;
    throw new DejaDitError('INVALID_CONFIG', reason, { path });
  };
  if (first > args.blocks) fail('fnComputeBlocks', `${first} is more than the ${args.blocks} blocks of the list`);
  if (last > args.blocks) fail('bnComputeBlocks', `${last} is more than the ${args.blocks} blocks of the list`);
  if (args.longSkips && isPrune(config)) {
    fail('cacheType', 'DBPrune may leave out blocks whose results later blocks of this model read; use DBCache');
  }
  if (args.longSkips && last > first) {
    fail(
      'bnComputeBlocks',
      `${last}, but the last blocks of this model read what as many first ones return, which are ${first}`,
    );
  }
  if (!semanticsOf(config).overlap && !isPrune(config) && first + last > args.blocks) {
    fail('bnComputeBlocks', `${first} first and ${last} last blocks overlap in a list of ${args.blocks}`);
  }
}
