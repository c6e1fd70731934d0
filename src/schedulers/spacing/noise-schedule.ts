/** The noise that training added, as a function of the timestep: beta schedules and what follows from them. */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import type { Rounding } from './flow-shift.ts';
import { linspace } from './sigma-spacing.ts';

export const noiseScheduleFields = {
  num_train_timesteps: z.int().min(2).max(1_000_000).default(1000),
  beta_start: z.number().positive().lt(1).default(0.0001),
  beta_end: z.number().positive().lt(1).default(0.02),
  beta_schedule: z.enum(['linear', 'scaled_linear', 'squaredcos_cap_v2']).default('linear'),
  /** Betas given one by one, in place of a schedule. */
  trained_betas: z.array(z.number().positive().lt(1)).nullable().default(null),
};

export interface NoiseScheduleConfig {
  num_train_timesteps: number;
  beta_start: number;
  beta_end: number;
  beta_schedule: 'linear' | 'scaled_linear' | 'squaredcos_cap_v2';
  trained_betas: readonly number[] | null;
  rescale_betas_zero_snr?: boolean;
}

/**
 * Share of signal variance left at each timestep (alpha bar): the running product of 1 - beta.
 * Computed in single precision as Diffusers does, unless another rounding is given.
 */
export function alphasCumprod(config: NoiseScheduleConfig, round: Rounding = Math.fround): Float64Array {
  const bars = runningProduct(betas(config, round), round);
  if (!config.rescale_betas_zero_snr) return bars;
  const ratios = zeroTerminalSnr(bars, round).map((bar, i, all) => (i === 0 ? bar : round(bar / all[i - 1]!)));
  const rescaledBetas = ratios.map((ratio) => round(1 - ratio));
  return runningProduct(rescaledBetas, round);
}

/** Shifts and scales sqrt(alpha bar) so that nothing of the signal is left at the end (Lin et al. 2023, algorithm 1). */
export function zeroTerminalSnr(bars: Float64Array, round: Rounding = Math.fround): Float64Array {
  const roots = bars.map((bar) => round(Math.sqrt(bar)));
  const [first, last] = [roots[0]!, roots.at(-1)!];
  const scale = round(first / round(first - last));
  return roots.map((root) => round(round(round(root - last) * scale) ** 2));
}

/** Noise over signal at each timestep: sqrt((1 - alpha bar) / alpha bar), in single precision. */
export function trainingSigmas(bars: Float64Array): Float32Array {
  return Float32Array.from(bars, (bar) => Math.sqrt(Math.fround(Math.fround(1 - bar) / bar)));
}

/**
 * The same for schedulers that work on sigmas. With zero terminal signal the last one would be infinite; it stops
 * where Diffusers stops it.
 */
export function finiteTrainingSigmas(config: NoiseScheduleConfig): Float32Array {
  const bars = alphasCumprod(config);
  if (config.rescale_betas_zero_snr) bars[bars.length - 1] = 2 ** -24;
  return trainingSigmas(bars);
}

function betas(config: NoiseScheduleConfig, round: Rounding): Float64Array {
  const { beta_start: start, beta_end: end, num_train_timesteps: count } = config;
  if (config.trained_betas) {
    if (config.trained_betas.length === count) return Float64Array.from(config.trained_betas, round);
    const length = config.trained_betas.length;
    throw new DejaDitError('INVALID_CONFIG', `has ${length} entries for num_train_timesteps ${count}`, {
      path: 'trained_betas',
    });
  }
  switch (config.beta_schedule) {
    case 'linear':
      return rampBothWays(start, end, count, round);
    case 'scaled_linear':
      return rampBothWays(Math.sqrt(start), Math.sqrt(end), count, round).map((root) => round(root ** 2));
    case 'squaredcos_cap_v2': {
      // Nichol and Dhariwal 2021, https://arxiv.org/abs/2102.09672, equation 17.
      const bar = (t: number) => Math.cos((((t + 0.008) / 1.008) * Math.PI) / 2) ** 2;
      return linspace(0, count - 1, count).map((i) =>
        round(Math.min(1 - bar((i + 1) / count) / bar(i / count), 0.999)),
      );
    }
  }
}

/** PyTorch's `linspace`: counted up from the start in the first half, down from the end in the second. */
function rampBothWays(start: number, end: number, count: number, round: Rounding): Float64Array {
  const [from, to] = [round(start), round(end)];
  const step = round(round(to - from) / (count - 1));
  return new Float64Array(count).map((_, i) =>
    round(i < Math.floor(count / 2) ? from + step * i : to - step * (count - 1 - i)),
  );
}

function runningProduct(betaValues: Float64Array, round: Rounding): Float64Array {
  let product = 1;
  return betaValues.map((beta) => {
    product *= round(1 - beta);
    return round(product);
  });
}
