/** Messages of the engine name its options; who types a command line knows flags. */
import { flagNames } from './request-flags.ts';

/** Names that mean nothing else, wherever they stand in a message. */
const others: Readonly<Record<string, string>> = {
  maxProgramBytes: '--max-program-memory',
  computeDtype: '--compute-dtype',
  layerwiseTextOffload: '--layerwise-text-offload',
  layerwiseOffload: '--layerwise-offload',
  'quantizeConfig.quantType': '--quantize-type',
  'cacheConfig.fnComputeBlocks': '--Fn-compute-blocks',
  'cacheConfig.bnComputeBlocks': '--Bn-compute-blocks',
  'cacheConfig.stepsComputationMask': '--mask-policy',
  'cacheConfig.stepsComputationPolicy': '--scm-policy',
  'cacheConfig.errorBudget': '--error-budget',
  'cacheConfig.targetPsnr': '--target-psnr',
  'cacheConfig.residualDiffThreshold': '--residual-diff-threshold',
  'cacheConfig.maxWarmupSteps': '--max-warmup-steps',
  'cacheConfig.warmupInterval': '--warmup-interval',
  'cacheConfig.maxCachedSteps': '--max-cached-steps',
  'cacheConfig.maxContinuousCachedSteps': '--max-continuous-cached-steps',
  'calibratorConfig.order': '--taylorseer-order',
};

/** Words of everyday language, names of options only where a message begins with them. */
const otherWords: Readonly<Record<string, string>> = {
  threads: '--threads',
  variant: '--variant',
  revision: '--revision',
  prompts: '--prompts',
  methods: '--methods',
  against: '--against',
};

const ofRequests = [...flagNames];
const isWord = (name: string) => /^[a-z]+$/.test(name);
const flags = { ...others, ...Object.fromEntries(ofRequests.filter(([name]) => !isWord(name))) };
const leading = { ...otherWords, ...Object.fromEntries(ofRequests.filter(([name]) => isWord(name))) };

const anywhere = new RegExp(`\\b(${Object.keys(flags).join('|').replaceAll('.', '\\.')})\\b`, 'g');
const atStart = new RegExp(`^(${Object.keys(leading).join('|')})(?=:| has no effect)`);

export function inFlags(message: string): string {
  return message.replace(anywhere, (name) => flags[name]!).replace(atStart, (name) => leading[name]!);
}
