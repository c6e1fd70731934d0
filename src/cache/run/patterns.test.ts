/** All six forward patterns on models whose every value is known beforehand, with and without the defects of cache-dit. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enableCache } from '../../api/enable-cache.ts';
import { summary } from '../../api/summary.ts';
import { setWarningHandler } from '../../errors/warnings.ts';
import type { ForwardPattern } from '../../models/definition.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import type { CacheOptions } from '../config/cache-config.ts';
import { callToy, toyModel } from '../testing/toy-model.ts';

const patterns: readonly ForwardPattern[] = [0, 1, 2, 3, 4, 5];
/** Block i adds 1.03^k at call k. */
const growth = (step: number) => 1.03 ** step;

let restore: Parameters<typeof setWarningHandler>[0];
beforeAll(() => {
  restore = setWarningHandler(() => {});
});
afterAll(() => void setWarningHandler(restore));

async function run(model: TransformerModel, steps: number, gain = growth): Promise<number[][]> {
  const outputs: number[][] = [];
  for (let step = 0; step < steps; step++) outputs.push(await callToy(model, { gain: gain(step) }));
  return outputs;
}

const statsOf = (model: TransformerModel) => summary(model, { logging: false })[0]!;

describe.each([{ compat: 'cache-dit' }, {}] as const)('four additive blocks, F1 B0, R 0.08, W 2 %j', ({ compat }) => {
  const options: CacheOptions = {
    Fn: 1,
    Bn: 0,
    residualDiffThreshold: 0.08,
    maxWarmupSteps: 2,
    maxContinuousCachedSteps: -1,
    ...(compat ? { compat } : {}),
  };
  const hidden = [
    5, 5.12, 5.1509, 5.182727, 5.502035, 5.535801, 5.570579, 5.919495, 5.956392, 5.994395, 6.375666, 6.415983, 6.45751,
    6.874135,
  ];
  const encoder = [45, 46.2, 46.509, 46.82727, 50.020352, 50.358005];

  it.each(patterns)('pattern %i', async (pattern) => {
    const model = await toyModel(pattern);
    enableCache(model, { cacheConfig: options, calibratorConfig: null });
    const outputs = await run(model, hidden.length);
    const stats = statsOf(model);
    expect(stats.cachedSteps).toEqual([2, 3, 5, 6, 8, 9, 11, 12]);
    for (const [step, value] of hidden.entries()) expect(outputs[step]![0], `H ${step}`).toBeCloseTo(value, 5);
    const expected = { 0: encoder, 1: encoder, 2: encoder.map(() => 5), 3: undefined, 4: hidden, 5: hidden }[pattern];
    for (const [step, value] of (expected ?? []).entries())
      expect(outputs[step]![1], `E ${step}`).toBeCloseTo(value, 4);
    const diffs = [2, 3, 4, 5].map((step) => stats.residualDiffs[step] as number);
    for (const [i, diff] of [0.03, 0.0609, 0.092727, 0.03].entries()) expect(diffs[i]).toBeCloseTo(diff, 5);
    await model.dispose();
  });

  it('B1: the last block runs on cached steps too', async () => {
    const model = await toyModel(3);
    enableCache(model, { cacheConfig: { ...options, Bn: 1 }, calibratorConfig: null });
    const outputs = await run(model, 6);
    const expected = { 2: 5.1818, 3: 5.245454, 5: 5.569566 };
    for (const [step, value] of Object.entries(expected)) expect(outputs[Number(step)]![0]).toBeCloseTo(value, 5);
    await model.dispose();
  });

  it('an accumulated limit of 0.2 ends caching for good in cache-dit; here a computed step arms it again', async () => {
    const model = await toyModel(3);
    enableCache(model, { cacheConfig: { ...options, maxAccumulatedResidualDiffThreshold: 0.2 } });
    await run(model, 14);
    expect(statsOf(model).cachedSteps).toEqual(compat ? [2, 3, 5] : [2, 3, 5, 6, 8, 9, 11, 12]);
    await model.dispose();
  });
});

describe('forecasts on the fly', () => {
  // The first block adds 1, the other three the square of the step.
  const squares = async (order: number, options: CacheOptions, steps: number) => {
    const model = await toyModel(3, { scales: [0, 1, 1, 1] });
    enableCache(model, {
      cacheConfig: { Fn: 1, Bn: 0, residualDiffThreshold: 1, maxContinuousCachedSteps: 3, ...options },
      calibratorConfig: { type: 'taylorseer', order },
    });
    const outputs: number[] = [];
    for (let k = 0; k < steps; k++) outputs.push((await callToy(model, { gain: k * k, hidden: [2] }))[0]!);
    await model.dispose();
    return outputs;
  };

  it.each([
    [1, [71, 92, 113, 230, 266, 302]],
    [2, [74, 104, 140, 231.875, 273.5, 318.875]],
    [3, [74, 104, 140, 231.78125, 272.75, 316.34375]],
  ])('TaylorSeer %i on squares: what cache-dit gives at W 5', async (order, expected) => {
    const outputs = await squares(order, { maxWarmupSteps: 5, compat: 'cache-dit' }, 12);
    for (const [i, step] of [5, 6, 7, 9, 10, 11].entries()) expect(outputs[step]).toBeCloseTo(expected[i]!, 3);
  });

  it('TaylorSeer needs four computed steps in cache-dit, two here', async () => {
    const linear = async (options: CacheOptions) => {
      const model = await toyModel(3, { scales: [0, 1, 1, 1] });
      enableCache(model, {
        cacheConfig: { Fn: 1, residualDiffThreshold: 1, maxContinuousCachedSteps: 3, maxWarmupSteps: 2, ...options },
        calibratorConfig: { type: 'taylorseer', order: 1 },
      });
      const outputs = (await run(model, 5, (k) => k)).map(([value]) => value! - 1);
      await model.dispose();
      return outputs;
    };
    expect(await linear({ compat: 'cache-dit' })).toEqual([0, 3, 3, 3, 3]);
    expect(await linear({})).toEqual([0, 3, 6, 9, 12]);
  });
});

describe('two requests of bare calls', () => {
  const options = { Fn: 1, residualDiffThreshold: 1, maxWarmupSteps: 1, numInferenceSteps: 4 };

  it('cache-dit notices the second one a call late and gives it the first one’s residual; here it begins at once', async () => {
    const actions = async (more: CacheOptions) => {
      const model = await toyModel(3);
      enableCache(model, { cacheConfig: { ...options, maxContinuousCachedSteps: -1, ...more } });
      await run(model, 6);
      const { calls } = statsOf(model);
      await model.dispose();
      return calls.map(({ action, step }) => `${step} ${action}`).slice(4);
    };
    expect(await actions({ compat: 'cache-dit' })).toEqual(['4 reuse', '0 compute']);
    expect(await actions({})).toEqual(['0 compute', '1 reuse']);
  });
});

describe('DBPrune: six additive blocks, input grown by 3 % a step, R 0.05, W 2, F 1, B 1', () => {
  const options: CacheOptions = { cacheType: 'DBPrune', Fn: 1, Bn: 1, residualDiffThreshold: 0.05, maxWarmupSteps: 2 };

  it.each(patterns)('pattern %i', async (pattern) => {
    const model = await toyModel(pattern, { blocks: 6 });
    enableCache(model, { cacheConfig: options });
    const outputs = await run(model, 8);
    const stats = statsOf(model);
    expect(stats.prunedBlocks).toEqual([0, 0, 4, 4, 4, 0, 4, 4]);

    // The same decisions carried out by hand.
    const remembered: { input: number; added: number }[] = [];
    for (const [step, call] of stats.calls.entries()) {
      let value = 1;
      for (const [block, { action, gate, diff }] of call.blocks!.entries()) {
        if (diff !== null) {
          const { input } = remembered[block]!;
          expect(diff, `step ${step} block ${block}`).toBeCloseTo(Math.abs(input - value) / input, 5);
        }
        const added = action === 'reuse' ? remembered[block]!.added : growth(step);
        if (action === 'compute' && gate !== 'protected') remembered[block] = { input: value, added };
        value += added;
      }
      expect(outputs[step]![0], `H ${step}`).toBeCloseTo(value, 4);
    }
    await model.dispose();
  });

  it('cache-dit cannot prune blocks of patterns 3 to 5, and compat mode says so before anything runs', async () => {
    const model = await toyModel(4);
    expect(() => enableCache(model, { cacheConfig: { ...options, compat: 'cache-dit' } })).toThrow(
      'cache-dit cannot prune blocks of pattern 4',
    );
    expect(statsOf(model).cacheOptions).toBeNull();
    await model.dispose();
  });

  it('blocks forecast by TaylorSeer follow a linear trend exactly', async () => {
    const model = await toyModel(3, { blocks: 4 });
    enableCache(model, {
      cacheConfig: { ...options, Bn: 0, residualDiffThreshold: 0.9, maxWarmupSteps: 3 },
      calibratorConfig: { type: 'taylorseer', order: 1 },
    });
    const outputs = await run(model, 6, (step) => 10 + step);
    expect(outputs.map(([value]) => value)).toEqual([10, 11, 12, 13, 14, 15].map((gain) => 1 + 4 * gain));
    expect(statsOf(model).prunedBlocks).toEqual([0, 0, 0, 3, 3, 3]);
    await model.dispose();
  });

  it('compares every 4th channel if asked to save memory', async () => {
    const peak = async (forceReduceCalibratorVram: boolean) => {
      const model = await toyModel(3, { blocks: 2 });
      enableCache(model, {
        cacheConfig: { cacheType: 'DBPrune', Fn: 1, maxWarmupSteps: 1, forceReduceCalibratorVram },
        calibratorConfig: { type: 'taylorseer', order: 1 },
      });
      for (let step = 0; step < 2; step++)
        await model.forward({
          hidden_states: floatTensor(new Float32Array(8).fill(1), [1, 1, 8]),
          gain: floatTensor([step]),
        });
      const { peakBytes } = statsOf(model);
      await model.dispose();
      return peakBytes;
    };
    // One block: its latest input, and its residuals of both calls.
    expect([await peak(false), await peak(true)]).toEqual([4 * (8 + 2 * 8), 4 * (2 + 2 * 8)]);
  });
});
