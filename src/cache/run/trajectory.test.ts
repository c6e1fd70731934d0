/** Calibration from the recording to the forecast, on a transformer whose residuals are known in advance. */
import { describe, expect, it } from 'vitest';
import { disableCache, enableCache } from '../../api/enable-cache.ts';
import { summary } from '../../api/summary.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { takeDown } from '../../runtime/host-tensors.ts';
import type { StepMask } from '../config/steps-mask.ts';
import { fitCoefficients } from '../forecasters/fit.ts';
import { parseLearnedCoefficients } from '../forecasters/learned.ts';
import { callToy, toyInputs, toyModel } from '../testing/toy-model.ts';
import { TrajectoryRecorder } from './trajectory.ts';

/** What the blocks add grows by a quarter per step: no polynomial, but a straight line in every two of its tensors. */
const gains = Array.from({ length: 8 }, (_, step) => 1.25 ** step);
const mask: StepMask = [1, 1, 0, 0, 1, 0, 1, 0];

/** A request of which every call is recorded. @returns the samples */
async function record(
  recorder: TrajectoryRecorder,
  model: TransformerModel,
  gains: readonly number[],
): Promise<number[]> {
  const session = model.newSession({ cache: recorder });
  const samples: number[] = [];
  for (const gain of gains) {
    const output = await session.forward(model.prepare(toyInputs(model, { gain })), {});
    const { sample } = await takeDown(model.programs.backend, { sample: output });
    samples.push(sample!.data[0] as number);
  }
  session.end();
  return samples;
}

describe('calibration', () => {
  it('records the inner products of the middle blocks, every trajectory scaled to size 1', async () => {
    const model = await toyModel(3);
    const recorder = new TrajectoryRecorder(model);
    await record(recorder, model, gains);
    const size = gains.reduce((total, gain) => total + gain ** 2, 0) / gains.length;
    for (const [i, a] of gains.entries())
      for (const [j, b] of gains.entries()) expect(recorder.gram[i]![j]).toBeCloseTo((a * b) / size, 5);
    expect(recorder.count).toBe(1);
    await model.dispose();
  });

  it('leaves out requests that ended early', async () => {
    const model = await toyModel(3);
    const recorder = new TrajectoryRecorder(model);
    for (const length of [4, 2]) await record(recorder, model, gains.slice(0, length));
    expect(recorder.gram).toHaveLength(4);
    expect(recorder.count).toBe(1);
    await model.dispose();
  });

  it('gives weights with which the skipped steps come out right, where Taylor is wrong', async () => {
    const model = await toyModel(3);
    const recorder = new TrajectoryRecorder(model);
    const truth = await record(recorder, model, gains);

    const fitted = fitCoefficients({ gram: recorder.gram, masks: [mask], lambda: 0 });
    const coefficients = parseLearnedCoefficients(JSON.parse(JSON.stringify(fitted)), 'file');
    const cacheConfig = { stepsComputationMask: mask, stepsComputationPolicy: 'static', maxWarmupSteps: 1 } as const;
    const errors: number[] = [];
    for (const calibratorConfig of [
      { type: 'learned', coefficients },
      { type: 'taylorseer', order: 1 },
    ]) {
      enableCache(model, { cacheConfig, calibratorConfig });
      const outputs: number[] = [];
      for (const gain of gains) outputs.push((await callToy(model, { gain }))[0]!);
      expect(summary(model, { logging: false })[0]!.cachedSteps).toEqual([2, 3, 5, 7]);
      errors.push(Math.max(...outputs.map((value, step) => Math.abs(value / truth[step]! - 1))));
      disableCache(model);
    }
    expect(errors[0]).toBeLessThan(1e-5);
    expect(errors[1]).toBeGreaterThan(1e-2);
    await model.dispose();
  });
});
