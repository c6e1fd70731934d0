/**
 * Step computation masks ("SCM"): which denoising steps must be computed (1) and which may be served from the cache
 * (0). Makes masks; what a mask means to a decision is in `decide.ts`.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';

export type StepMask = (0 | 1)[];

/** How much of a run is computed, from cautious to daring: about 64, 54, 39 and 29 % of 28 steps. */
export const MASK_POLICIES = ['slow', 'medium', 'fast', 'ultra'] as const;
export type MaskPolicy = (typeof MASK_POLICIES)[number];

/** Run lengths: `compute[0]` ones, `cache[0]` zeros, `compute[1]` ones, ... */
interface Bins {
  compute: number[];
  cache: number[];
}

const bins = (compute: number[], cache: number[]): Bins => ({ compute, cache });

const PRESETS_28: Record<MaskPolicy, Bins> = {
  slow: bins([8, 3, 3, 2, 1, 1], [1, 2, 2, 2, 3]),
  medium: bins([6, 2, 2, 2, 2, 1], [1, 3, 3, 3, 3]),
  fast: bins([6, 1, 1, 1, 1, 1], [1, 3, 4, 5, 4]),
  ultra: bins([4, 1, 1, 1, 1], [2, 5, 6, 7]),
};
const PRESETS_15: Record<MaskPolicy, Bins> = {
  slow: bins([4, 2, 2, 2, 1], [1, 1, 1, 1]),
  medium: bins([4, 2, 1, 1, 1], [1, 1, 2, 2]),
  fast: bins([3, 1, 1, 1, 1], [1, 2, 2, 3]),
  ultra: bins([2, 1, 1, 1, 1], [1, 2, 3, 3]),
};
const PRESETS_9: Record<MaskPolicy, Bins> = {
  slow: bins([5, 2, 1], [1]),
  medium: bins([5, 1, 1], [1, 1]),
  fast: bins([4, 1, 1], [1, 2]),
  ultra: bins([3, 1, 1], [2, 2]),
};
const PRESETS_8: Record<MaskPolicy, Bins> = {
  slow: bins([5, 1, 1], [1]),
  medium: bins([4, 1, 1], [1, 1]),
  fast: bins([3, 1, 1], [1, 2]),
  ultra: bins([2, 1, 1], [2, 2]),
};
const PRESET_6 = bins([3, 1], [2]);
const PRESET_4 = bins([2, 1], [1]);

/** Share of computed steps of very short runs: that of the 8-step presets. */
const SHORT_RUN_SHARE: Record<MaskPolicy, number> = { slow: 7 / 8, medium: 6 / 8, fast: 5 / 8, ultra: 4 / 8 };

export interface StepsMaskOptions {
  /** Lengths of the runs of computed steps; needs `cacheBins` too, and then no policy is used. */
  computeBins?: readonly number[];
  /** Lengths of the runs of cached steps between them. */
  cacheBins?: readonly number[];
  /** Steps of the run. Default with bins: their sum; without bins it is required. */
  totalSteps?: number;
  /** `slow`, `medium`, `fast` or `ultra`, or its first letter. Default `medium`. */
  maskPolicy?: string;
  /** `cache-dit`: the step counts it has no preset for (1, 2, 3, 5, 7) are errors, as there. */
  compat?: 'cache-dit';
}

/**
 * The mask for a run. With bins: alternating runs as given, cut to `totalSteps`. With a policy: cache-dit's presets for
 * 4, 6 and 8 to any number of steps, equal to its masks bit by bit; the counts it lacks (1, 2, 3, 5, 7) in closed form.
 * A policy's last step is always computed. Throws `INVALID_ARGUMENT` naming the option that cannot work.
 * @example
 * enableCache(pipe, { cacheConfig: { stepsComputationMask: stepsMask({ maskPolicy: 'fast', totalSteps: 28 }) } });
 */
export function stepsMask(options: StepsMaskOptions): StepMask {
  const { computeBins, cacheBins, totalSteps, compat } = options;
  if (computeBins !== undefined && cacheBins !== undefined) return fromBins({ computeBins, cacheBins, totalSteps });
  if (computeBins !== undefined || cacheBins !== undefined) {
    throw invalid(
      'computeBins and cacheBins work only together',
      computeBins === undefined ? 'computeBins' : 'cacheBins',
    );
  }

  const policy = maskPolicy(options.maskPolicy ?? 'medium');
  if (totalSteps === undefined) throw invalid('is required with a mask policy', 'totalSteps');
  if (!Number.isSafeInteger(totalSteps) || totalSteps < 1 || totalSteps > 100_000) {
    throw invalid(`must be an integer from 1 to 100000, got ${quote(totalSteps)}`, 'totalSteps');
  }
  const preset = presetBins(policy, totalSteps);
  if (preset === undefined) {
    if (compat === undefined) return shortMask(policy, totalSteps);
    throw invalid(`must be 4, 6 or at least 8 in compat mode, got ${totalSteps}`, 'totalSteps');
  }
  const mask = expand(preset).slice(0, totalSteps);
  mask[totalSteps - 1] = 1;
  return mask;
}

/** The policy that a name or its first letter means. Throws `INVALID_ARGUMENT` for any other name. */
export function maskPolicy(name: string): MaskPolicy {
  const known = MASK_POLICIES.find((policy) => policy === name || policy[0] === name);
  if (known === undefined)
    throw invalid(`must be one of ${MASK_POLICIES.join(', ')}, got ${quote(name)}`, 'maskPolicy');
  return known;
}

const invalid = (reason: string, option: string) =>
  new DejaDitError('INVALID_ARGUMENT', reason, { path: `stepsMask.${option}` });

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const length = ({ compute, cache }: Bins) => sum(compute) + sum(cache);

function fromBins(args: {
  computeBins: readonly number[];
  cacheBins: readonly number[];
  totalSteps?: number;
}): StepMask {
  for (const name of ['computeBins', 'cacheBins'] as const) {
    if (!args[name].every((bin) => Number.isSafeInteger(bin) && bin >= 0)) {
      throw invalid(`must hold integers of at least 0, got ${quote(args[name])}`, name);
    }
  }
  const mask = expand(bins([...args.computeBins], [...args.cacheBins]));
  const totalSteps = args.totalSteps ?? mask.length;
  if (totalSteps > mask.length) {
    throw invalid(`is ${totalSteps}, but the bins cover only ${mask.length} steps`, 'totalSteps');
  }
  return mask.slice(0, totalSteps);
}

function expand({ compute, cache }: Bins): StepMask {
  const mask: StepMask = [];
  for (let i = 0; i < Math.max(compute.length, cache.length); i++) {
    mask.push(...new Array<1>(compute[i] ?? 0).fill(1), ...new Array<0>(cache[i] ?? 0).fill(0));
  }
  return mask;
}

function presetBins(policy: MaskPolicy, totalSteps: number): Bins | undefined {
  if (totalSteps > 28) return truncate(grow(PRESETS_28[policy], totalSteps), totalSteps);
  if (totalSteps >= 16) return truncate(PRESETS_28[policy], totalSteps);
  if (totalSteps >= 10) return truncate(PRESETS_15[policy], totalSteps);
  if (totalSteps === 9) return PRESETS_9[policy];
  if (totalSteps === 8) return PRESETS_8[policy];
  if (totalSteps === 6) return PRESET_6;
  if (totalSteps === 4) return PRESET_4;
  return undefined;
}

/**
 * Bins of the 28-step preset grown in turn, compute before cache, until they cover `totalSteps`. One growth adds half
 * the bin's share of the longer run, at least 1; each round ends by adding 1 to the last compute bin.
 */
function grow(preset: Bins, totalSteps: number): Bins {
  const grown = bins([...preset.compute], [...preset.cache]);
  const increment = (bin: number) => Math.max(Math.trunc(bin * ((totalSteps / 28) * 0.5)), 1);
  const pairs = Math.min(preset.compute.length, preset.cache.length);
  const turns: (() => void)[] = [];
  for (let i = 0; i < pairs; i++) {
    turns.push(() => {
      grown.compute[i]! += increment(preset.compute[i]!);
    });
    turns.push(() => {
      grown.cache[i]! += increment(preset.cache[i]!);
    });
  }
  turns.push(() => {
    grown.compute[grown.compute.length - 1]! += 1;
  });
  for (let turn = 0; length(grown) < totalSteps; turn++) turns[turn % turns.length]!();
  return grown;
}

/** Bins shortened to `totalSteps` by taking 1 in turn from the last cache bin and the last compute bin; empty ones go. */
function truncate(preset: Bins, totalSteps: number): Bins {
  const cut = bins([...preset.compute], [...preset.cache]);
  for (let turn = 0; length(cut) > totalSteps; turn++) {
    const list = turn % 2 === 0 ? cut.cache : cut.compute;
    if (list.length === 0) continue;
    list[list.length - 1]! -= 1;
    if (list.at(-1) === 0) list.pop();
  }
  return cut;
}

/**
 * Closed form for runs of a few steps: round(share * T) computed steps, at least the first and the last. The cached
 * steps form one run, or two if at least two computed steps stay in front, the longer one last, each followed by a
 * computed step. (At T = 8 this gives the presets of medium, fast and ultra.)
 */
function shortMask(policy: MaskPolicy, totalSteps: number): StepMask {
  const computed = Math.max(Math.round(SHORT_RUN_SHARE[policy] * totalSteps), Math.min(2, totalSteps));
  const cached = totalSteps - computed;
  const runs = Math.min(cached, computed > 3 ? 2 : 1);
  const compute = [computed - runs, ...new Array<number>(runs).fill(1)];
  const cache = runs === 2 ? [Math.floor(cached / 2), Math.ceil(cached / 2)] : [cached];
  return expand(bins(compute, cache));
}
