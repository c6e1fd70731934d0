/**
 * Schedules, samples along a toy model and noised samples, as recorded with Diffusers: the configurations that models
 * ship with, at several numbers of steps, and one short run for every option beside them.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Generator } from '../tensor/generator.ts';
import { floatTensor, type Tensor } from '../tensor/tensor.ts';
import { readSafetensors } from '../weights/safetensors/safetensors.ts';
import { createScheduler } from './create-scheduler.ts';
import type { Scheduler, SetTimestepsOptions } from './scheduler.ts';
import { linspace } from './spacing/sigma-spacing.ts';

interface Recording {
  title: string;
  className: string;
  config: Record<string, unknown>;
  setTimesteps: SetTimestepsOptions;
  eta?: number;
  timesteps: number[];
  sigmas: number[];
  /** Before the first step and after each. */
  samples: Tensor;
  /** `x0` with `x0` reversed as noise, at the start of the second step. */
  noisy?: Tensor;
}

interface ConfigurationCase {
  class: string;
  config: Record<string, unknown>;
  set_timesteps_kwargs: { mu?: number };
  custom_sigmas: string | null;
  step_kwargs: { eta?: number };
  runs: Record<string, { error?: string; timesteps: number[]; sigmas?: number[] }>;
}

const readJson = (name: string) => JSON.parse(readFileSync(`fixtures/schedulers/${name}.json`, 'utf8'));
const readTensors = (name: string) => readSafetensors(`fixtures/schedulers/${name}.safetensors`);

const { W, b, x0 } = (await readTensors('toy')) as Record<'W' | 'b' | 'x0', Tensor>;
const configurations: Record<string, ConfigurationCase> = readJson('schedulers');
const configurationSamples = await readTensors('samples');
const optionTensors = await readTensors('options');

const recordings: Recording[] = [
  ...Object.entries(configurations).flatMap(([name, { class: className, config, ...options }]) =>
    Object.entries(options.runs)
      .filter(([, run]) => run.error === undefined)
      .map(([steps, { timesteps, sigmas = [] }]) => ({
        title: `${name}, ${steps} steps`,
        className,
        config,
        setTimesteps: {
          ...(options.custom_sigmas
            ? { sigmas: [...linspace(1, 1 / Number(steps), Number(steps))] }
            : { numInferenceSteps: Number(steps) }),
          ...(options.set_timesteps_kwargs.mu !== undefined && { mu: options.set_timesteps_kwargs.mu }),
        },
        ...options.step_kwargs,
        timesteps,
        sigmas,
        samples: configurationSamples[`${name}.${steps}.samples`]!,
      })),
  ),
  ...(readJson('options') as (Recording & { name: string; key: string })[]).map((recording) => ({
    ...recording,
    title: recording.name,
    samples: optionTensors[`${recording.key}.samples`]!,
    noisy: optionTensors[`${recording.key}.noisy`],
  })),
];

/** 0.8 tanh(W x) + b cos(t / 300). */
function toyModel(x: Tensor, timestep: number): Tensor {
  const [input, weights, bias] = [x.data, W.data, b.data] as [Float32Array, Float32Array, Float32Array];
  const output = input.map((_, row) => {
    let dot = 0;
    for (let i = 0; i < input.length; i++) dot += input[i]! * weights[row * input.length + i]!;
    return 0.8 * Math.tanh(dot) + bias[row]! * Math.cos(timestep / 300);
  });
  return floatTensor(output, x.shape);
}

function prepare({ className, config, setTimesteps }: Omit<Recording, 'samples'>): Scheduler {
  const scheduler = createScheduler(className, config);
  scheduler.setTimesteps(setTimesteps);
  return scheduler;
}

function recordedSample({ samples }: Recording, i: number): Float32Array {
  return samples.f32.subarray(i * x0.size, (i + 1) * x0.size);
}

/**
 * Largest difference after any step, each starting from the sample of the step before or from the recorded one;
 * relative to the values before and after the step, since it is their rounding that the result inherits.
 */
function denoise(recording: Recording, from: 'own sample' | 'recorded sample'): number {
  const scheduler = prepare(recording);
  scheduler.setBeginIndex(0);
  const generator = new Generator(123);
  let sample = floatTensor(recordedSample(recording, 0), x0.shape);
  let difference = 0;
  for (const [i, timestep] of scheduler.timesteps.entries()) {
    const [before, after] = [recordedSample(recording, i), recordedSample(recording, i + 1)];
    if (from === 'recorded sample') sample = floatTensor(before, x0.shape);
    const modelOutput = toyModel(scheduler.scaleModelInput(sample, timestep), timestep);
    sample = scheduler.step({ modelOutput, timestep, sample, generator, eta: recording.eta }).prevSample;
    difference = Math.max(difference, worst(sample.f32, after, largest(before)));
  }
  return difference;
}

/** Largest difference, relative to the largest value, `scale` or 1. */
function worst(actual: ArrayLike<number>, expected: ArrayLike<number>, scale = 1): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  const differences = Array.from(actual, (value, i) => value - expected[i]!);
  return largest(differences) / Math.max(largest(expected), scale, 1);
}

function largest(values: ArrayLike<number>): number {
  return Array.from(values).reduce((max, value) => Math.max(max, Math.abs(value)), 0);
}

describe.each(recordings)('$title', (recording) => {
  it('lays out the schedule of Diffusers', () => {
    const scheduler = prepare(recording);
    expect(worst(scheduler.timesteps, recording.timesteps)).toBeLessThan(1e-7);
    expect(worst(scheduler.sigmas, recording.sigmas)).toBeLessThan(1e-7);
    const start = x0.f32.map((value) => value * scheduler.initNoiseSigma);
    expect(worst(start, recordedSample(recording, 0))).toBeLessThan(2e-7);
  });

  it('takes each of its steps', () => {
    // In single precision the formulas of third order lose digits to cancellation; only Diffusers computes them there.
    const tolerance = recording.config['solver_order'] === 3 ? 3e-6 : 1e-6;
    expect(denoise(recording, 'recorded sample')).toBeLessThan(tolerance);
  });

  // Looser, because what rounding differs by grows along the way: by the ratio of signal at the end and at the start,
  // which zero terminal SNR makes as large as it gets.
  it('takes all steps in a row', () => {
    const tolerance = recording.config['rescale_betas_zero_snr'] ? 1e-4 : 1e-5;
    expect(denoise(recording, 'own sample')).toBeLessThan(tolerance);
  });
});

it.each(recordings.filter(({ noisy }) => noisy))('$title: adds noise', (recording) => {
  const scheduler = prepare(recording);
  const noise = floatTensor(
    x0.f32.map((_, i, all) => all[i - (i % 4) + 3 - (i % 4)]!),
    x0.shape,
  );
  scheduler.setBeginIndex(scheduler.order);
  const noisy = scheduler.addNoise({ sample: x0, noise, timestep: scheduler.timesteps[scheduler.order]! });
  expect(worst(noisy.f32, recording.noisy!.f32)).toBeLessThan(1e-6);
});

it('is not stopped by equal timesteps, where Diffusers is', () => {
  const { class: className, config, runs } = configurations['dpmpp_2m_beta']!;
  expect(runs['50']!.error).toContain('IndexError');
  const scheduler = createScheduler(className, config);
  scheduler.setTimesteps({ numInferenceSteps: 50 });
  expect(scheduler.timesteps.slice(0, 2)).toEqual([998, 998]);
  let sample = x0;
  for (const timestep of scheduler.timesteps) {
    sample = scheduler.step({ modelOutput: toyModel(sample, timestep), timestep, sample }).prevSample;
  }
  const fewer = recordings.find(({ title }) => title === 'dpmpp_2m_beta, 28 steps')!;
  expect(worst(sample.f32, recordedSample(fewer, 28))).toBeLessThan(0.02);
});
