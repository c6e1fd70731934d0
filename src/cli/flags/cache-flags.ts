/** The cache's command line flags, under cache-dit's names. What they stand for is `cache-options.ts`, which is loaded when used. */
import type { Command } from 'commander';
import { integer, number } from './numbers.ts';

export interface CacheFlags {
  cache?: boolean;
  config?: string;
  summary?: boolean;
  errorBudget?: number;
  targetPsnr?: number;
  FnComputeBlocks?: number;
  BnComputeBlocks?: number;
  residualDiffThreshold?: number;
  maxWarmupSteps?: number;
  warmupInterval?: number;
  maxCachedSteps?: number;
  maxContinuousCachedSteps?: number;
  maskPolicy?: string;
  scmPolicy?: string;
  taylorseer?: boolean;
  taylorseerOrder?: number;
  foca?: boolean;
  dmd?: boolean;
  probe?: boolean;
  compat?: boolean;
}

/** Adds the flags to a command. */
export function addCacheFlags(command: Command): Command {
  return command
    .optionsGroup('Cache:')
    .option('--cache', 're-use what earlier steps computed')
    .option('--config <file>', 'cache, quantisation and other settings from a YAML or JSON file of cache-dit')
    .option('--summary', 'show what was computed and re-used, step by step')
    .option(
      '--error-budget <x>',
      'visible error of the forecasts to let through: 0.015 is careful, 0.13 daring',
      number(),
    )
    .option('--target-psnr <dB>', 'the budget by the image quality it gives, about', number())
    .option('--Fn, --Fn-compute-blocks <n>', 'first blocks, computed on every step', integer())
    .option('--Bn, --Bn-compute-blocks <n>', 'last blocks, computed on every step', integer())
    .option('--rdt, --residual-diff-threshold <x>', 're-use while the first blocks have moved by less', number())
    .option('--ws, --max-warmup-steps <n>', 'steps at the start that are computed', integer())
    .option('--wi, --warmup-interval <n>', 'of these only every n-th', integer())
    .option('--mc, --max-cached-steps <n>', 're-used steps at most; -1 for no limit', integer())
    .option('--mcc, --max-continuous-cached-steps <n>', 're-used steps in a row at most; -1 for no limit', integer())
    .option('--scm, --mask-policy <name>', 'steps mask: slow, medium, fast or ultra')
    .option('--scm-policy <name>', 'what a 0 of the mask means: dynamic (the threshold decides) or static')
    .option('--taylorseer', 'forecast with TaylorSeer')
    .option('--taylorseer-order <n>', 'its order', integer())
    .option('--foca', 'forecast with FoCa')
    .option('--dmd', 'forecast with dynamic mode decomposition')
    .option('--probe', 'forecast with Taylor, corrected by what the first blocks show')
    .option('--compat', 'settings and decisions of cache-dit 1.3.5, its known defects included')
    .optionsGroup('Options:');
}
