/**
 * What a model's output means. At a noise level a sample is alpha * clean + sigma * noise; models are trained to predict
 * one of these, or a mix of them, and the others follow.
 */
import * as z from 'zod';
import { weightedSum } from './scheduler-base.ts';

export type PredictionType = 'epsilon' | 'sample' | 'v_prediction' | 'flow_prediction';

export interface Prediction {
  type: PredictionType;
  modelOutput: Float32Array;
  sample: Float32Array;
  alpha: number;
  sigma: number;
}

/** The clean sample that the prediction implies. */
export function predictOriginal({ type, modelOutput, sample, alpha, sigma }: Prediction): Float32Array {
  switch (type) {
    case 'epsilon':
      return weightedSum([1 / alpha, sample], [-sigma / alpha, modelOutput]);
    case 'sample':
      return modelOutput;
    case 'v_prediction':
      return weightedSum([alpha, sample], [-sigma, modelOutput]);
    case 'flow_prediction':
      return weightedSum([1, sample], [-sigma, modelOutput]);
  }
}

/** The noise that the prediction implies. */
export function predictNoise({ type, modelOutput, sample, alpha, sigma }: Prediction): Float32Array {
  switch (type) {
    case 'epsilon':
      return modelOutput;
    case 'sample':
      return weightedSum([1 / sigma, sample], [-alpha / sigma, modelOutput]);
    case 'v_prediction':
      return weightedSum([alpha, modelOutput], [sigma, sample]);
    case 'flow_prediction':
      return weightedSum([1, sample], [alpha, modelOutput]);
  }
}

export const thresholdingFields = {
  thresholding: z.boolean().default(false),
  dynamic_thresholding_ratio: z.number().min(0).max(1).default(0.995),
  sample_max_value: z.number().positive().default(1),
};

export const clippingFields = {
  clip_sample: z.boolean().default(true),
  clip_sample_range: z.number().positive().default(1),
};

interface Limits {
  thresholding?: boolean;
  dynamic_thresholding_ratio?: number;
  sample_max_value?: number;
  clip_sample?: boolean;
  clip_sample_range?: number;
}

/** Holds a predicted clean sample to its range: by dynamic thresholding, by clipping, or not at all. */
export function limitOriginal(original: Float32Array, shape: readonly number[], limits: Limits): Float32Array {
  if (limits.thresholding) {
    const { dynamic_thresholding_ratio: ratio = 0.995, sample_max_value: max = 1 } = limits;
    return dynamicThreshold(original, { batch: shape[0] ?? 1, ratio, max });
  }
  if (!limits.clip_sample) return original;
  const range = limits.clip_sample_range ?? 1;
  return original.map((value) => Math.min(Math.max(value, -range), range));
}

/**
 * Saharia et al. 2022, https://arxiv.org/abs/2205.11487, section 2.3: clips each batch item to a quantile of its
 * magnitudes, at least 1 and at most `max`, and scales it back to [-1, 1].
 */
function dynamicThreshold(
  values: Float32Array,
  { batch, ratio, max }: { batch: number; ratio: number; max: number },
): Float32Array {
  const out = new Float32Array(values.length);
  const size = values.length / batch;
  for (let start = 0; start < values.length; start += size) {
    const item = values.subarray(start, start + size);
    const limit = Math.min(Math.max(quantile(item.map(Math.abs).sort(), ratio), 1), max);
    for (let i = 0; i < size; i++) out[start + i] = Math.min(Math.max(item[i]!, -limit), limit) / limit;
  }
  return out;
}

function quantile(sorted: Float32Array, ratio: number): number {
  const position = ratio * (sorted.length - 1);
  const low = sorted[Math.floor(position)]!;
  return low + (sorted[Math.ceil(position)]! - low) * (position % 1);
}
