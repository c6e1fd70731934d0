/** Every configuration recorded with Diffusers: schedule, and samples along a toy model. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Generator } from '../tensor/generator.ts';
import { floatTensor, type Tensor } from '../tensor/tensor.ts';
import { readSafetensors } from '../weights/safetensors.ts';
import { createScheduler } from './create-scheduler.ts';
import type { Scheduler } from './scheduler.ts';
import { linspace } from './sigma-spacing.ts';

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

interface Recorded {
  name: string;
  steps: number;
  golden: Case;
  run: Run;
}

const cases: Record<string, Case> = JSON.parse(readFileSync('fixtures/schedulers/schedulers.json', 'utf8'));
const samples = await readSafetensors('fixtures/schedulers/samples.safetensors');
const { W, b, x0 } = (await readSafetensors('fixtures/schedulers/toy.safetensors')) as Record<'W' | 'b' | 'x0', Tensor>;

const runs: Recorded[] = Object.entries(cases)
  .flatMap(([name, golden]) =>
    Object.entries(golden.runs).map(([steps, run]) => ({ name, steps: Number(steps), golden, run })),
  )
  .filter(({ run }) => run.error === undefined);

/** 0.8 tanh(W x) + b cos(t / 300). */
function toyModel(x: Tensor, timestep: number): Tensor {
  const [input, weights, bias] = [x.data, W.data, b.data] as [Float32Array, Float32Array, Float32Array];
  const output = input.map((_, row) => {
    const dot = input.reduce((sum, value, column) => sum + value * weights[row * input.length + column]!, 0);
    return 0.8 * Math.tanh(dot) + bias[row]! * Math.cos(timestep / 300);
  });
  return floatTensor(output, x.shape);
}

function prepare({ golden, steps }: { golden: Case; steps: number }): Scheduler {
  const scheduler = createScheduler(golden.class, golden.config);
  scheduler.setTimesteps({
    ...(golden.custom_sigmas ? { sigmas: [...linspace(1, 1 / steps, steps)] } : { numInferenceSteps: steps }),
    ...(golden.set_timesteps_kwargs.mu !== undefined && { mu: golden.set_timesteps_kwargs.mu }),
  });
  return scheduler;
}

/** The recorded sample after `i` steps. */
function recorded({ name, steps }: Recorded, i: number): Float32Array {
  const all = samples[`${name}.${steps}.samples`]!.data as Float32Array;
  return all.subarray(i * x0.size, (i + 1) * x0.size);
}

/** Largest difference after any step, each starting from the sample of the step before or from the recorded one. */
function denoise(run: Recorded, from: 'own sample' | 'recorded sample'): number {
  const scheduler = prepare(run);
  const generator = new Generator(123);
  const { eta } = run.golden.step_kwargs;
  let sample = floatTensor(recorded(run, 0), x0.shape);
  let difference = 0;
  for (const [i, timestep] of scheduler.timesteps.entries()) {
    if (from === 'recorded sample') sample = floatTensor(recorded(run, i), x0.shape);
    const modelOutput = toyModel(scheduler.scaleModelInput(sample, timestep), timestep);
    sample = scheduler.step({ modelOutput, timestep, sample, generator, eta }).prevSample;
    difference = Math.max(difference, worst(sample.data as Float32Array, recorded(run, i + 1)));
  }
  return difference;
}

/** Largest difference, relative to the largest value or 1. */
function worst(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let scale = 1;
  for (let i = 0; i < actual.length; i++) {
    difference = Math.max(difference, Math.abs(actual[i]! - expected[i]!));
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return difference / scale;
}

describe.each(runs)('$name, $steps steps', (run) => {
  it('lays out the schedule of Diffusers', () => {
    const scheduler = prepare(run);
    const { timesteps, sigmas = [], init_noise_sigma: initNoiseSigma } = run.run;
    expect(worst(scheduler.timesteps, timesteps)).toBeLessThan(1e-7);
    expect(worst(scheduler.sigmas, sigmas)).toBeLessThan(1e-7);
    expect(Math.abs(scheduler.initNoiseSigma / initNoiseSigma - 1)).toBeLessThan(1e-7);
    const start = (x0.data as Float32Array).map((value) => value * scheduler.initNoiseSigma);
    expect(worst(start, recorded(run, 0))).toBeLessThan(2e-7);
  });

  it('takes each of its steps', () => {
    expect(denoise(run, 'recorded sample')).toBeLessThan(1e-6);
  });

  // Longer, because what rounding differs by grows along the way: by the ratio of signal at the end and at the start.
  it('takes all steps in a row', () => {
    expect(denoise(run, 'own sample')).toBeLessThan(1e-5);
  });
});

it('is not stopped by equal timesteps, where Diffusers is', () => {
  const golden = cases['dpmpp_2m_beta']!;
  expect(golden.runs['50']!.error).toContain('IndexError');
  const scheduler = prepare({ golden, steps: 50 });
  expect(scheduler.timesteps.slice(0, 2)).toEqual([998, 998]);
  let sample = x0;
  for (const timestep of scheduler.timesteps) {
    sample = scheduler.step({ modelOutput: toyModel(sample, timestep), timestep, sample }).prevSample;
  }
  const { 28: fewer } = Object.fromEntries(
    runs.filter(({ name }) => name === 'dpmpp_2m_beta').map((r) => [r.steps, r]),
  );
  expect(worst(sample.data as Float32Array, recorded(fewer!, 28))).toBeLessThan(0.02);
});
