/** Messages of the engine name its options; who types a command line knows flags. */

/** Names that mean nothing else, wherever they stand in a message. */
const flags: Readonly<Record<string, string>> = {
  numInferenceSteps: '--steps',
  guidanceScale2: '--guidance-2',
  guidanceScale: '--guidance',
  trueCfgScale: '--guidance',
  negativePrompt: '--negative',
  numImages: '--num-images',
  numFrames: '--num-frames',
  maxMemory: '--max-memory',
  maxProgramBytes: '--max-program-memory',
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
const leading: Readonly<Record<string, string>> = {
  width: '--size',
  height: '--size',
  image: '--image',
  strength: '--strength',
  seed: '--seed',
  threads: '--threads',
  variant: '--variant',
  revision: '--revision',
  prompts: '--prompts',
  methods: '--methods',
  against: '--against',
};

const anywhere = new RegExp(`\\b(${Object.keys(flags).join('|').replaceAll('.', '\\.')})\\b`, 'g');
const atStart = new RegExp(`^(${Object.keys(leading).join('|')})(?=:| has no effect)`);

export function inFlags(message: string): string {
  return message.replace(anywhere, (name) => flags[name]!).replace(atStart, (name) => leading[name]!);
}
