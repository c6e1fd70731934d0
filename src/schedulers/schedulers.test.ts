/** Every configuration recorded with Diffusers: schedule, and samples along a toy model. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Generator } from '../tensor/generator.ts';
import { floatTensor, type Tensor } from '../tensor/tensor.ts';
import { readSafetensors } from '../weights/safetensors.ts';
import { createScheduler, schedulerClassNames } from './create-scheduler.ts';
import type { Scheduler } from './scheduler.ts';

interface Run {
  error?: string;
  timesteps: number[];
  sigmas?: number[];
  init_noise_sigma: number;
}

interface Case {
  class: string;
  config: Record<string, unknown>;
  set_timesteps_kwargs: { mu?: number };
  custom_sigmas: string | null;
  step_kwargs: { eta?: number };
  runs: Record<string, Run>;
}

const cases: Record<string, Case> = JSON.parse(readFileSync('fixtures/schedulers/schedulers.json', 'utf8'));
const samples = await readSafetensors('fixtures/schedulers/samples.safetensors');
const { W, b, x0 } = (await readSafetensors('fixtures/schedulers/toy.safetensors')) as Record<'W' | 'b' | 'x0', Tensor>;

const runs = Object.entries(cases)
  .filter(([, golden]) => (schedulerClassNames as string[]).includes(golden.class))
  .flatMap(([name, golden]) =>
    Object.entries(golden.runs).map(([steps, run]) => ({ name, steps: Number(steps), golden, run })),
  );

/** 0.8 tanh(W x) + b cos(t / 300). */
function toyModel(x: Tensor, timestep: number): Tensor {
  const [input, weights, bias] = [x, W, b].map((tensor) => tensor.data as Float32Array) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const output = input.map((_, row) => {
    const dot = input.reduce((sum, value, column) => sum + value * weights[row * input.length + column]!, 0);
    return 0.8 * Math.tanh(dot) + bias[row]! * Math.cos(timestep / 300);
  });
  return floatTensor(output, x.shape);
}

function prepare({ golden, steps }: { golden: Case; steps: number }): Scheduler {
  const scheduler = createScheduler(golden.class, golden.config);
  const sigmas = Array.from({ length: steps }, (_, i) => 1 - (i * (1 - 1 / steps)) / Math.max(steps - 1, 1));
  scheduler.setTimesteps({
    ...(golden.custom_sigmas ? { sigmas } : { numInferenceSteps: steps }),
    ...(golden.set_timesteps_kwargs.mu !== undefined && { mu: golden.set_timesteps_kwargs.mu }),
  });
  return scheduler;
}

/** Samples before the first and after every step, as the recording has them. */
function denoise(scheduler: Scheduler, eta: number | undefined): Float32Array[] {
  const generator = new Generator(123);
  let sample = floatTensor(
    (x0.data as Float32Array).map((value) => value * scheduler.initNoiseSigma),
    x0.shape,
  );
  const states = [sample.data as Float32Array];
  for (const timestep of scheduler.timesteps) {
    const modelOutput = toyModel(scheduler.scaleModelInput(sample, timestep), timestep);
    sample = scheduler.step({ modelOutput, timestep, sample, generator, eta }).prevSample;
    states.push(sample.data as Float32Array);
  }
  return states;
}

/** Largest difference, relative to the largest value or 1. */
function worst(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let difference = 0;
  let scale = 1;
  for (let i = 0; i < actual.length; i++) {
    difference = Math.max(difference, Math.abs(actual[i]! - expected[i]!));
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return difference / scale;
}

describe.each(runs)('$name, $steps steps', ({ name, steps, golden, run }) => {
  it('lays out the schedule of Diffusers', () => {
    const scheduler = prepare({ golden, steps });
    expect(worst(scheduler.timesteps, run.timesteps)).toBeLessThan(1e-7);
    expect(worst(scheduler.sigmas, run.sigmas ?? [])).toBeLessThan(1e-7);
    expect(scheduler.initNoiseSigma).toBeCloseTo(run.init_noise_sigma, 6);
  });

  it('takes its steps', () => {
    const states = denoise(prepare({ golden, steps }), golden.step_kwargs.eta);
    const expected = samples[`${name}.${steps}.samples`]!.data as Float32Array;
    const size = x0.size;
    for (const [i, state] of states.entries()) {
      expect(worst(state, expected.subarray(i * size, (i + 1) * size)), `after ${i} steps`).toBeLessThan(1e-6);
    }
  });
});
