/** EasyCache on a model whose every value is known, against the formula worked out by hand, and on every family. */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { disableCache, enableCache } from '../../api/enable-cache.ts';
import { strify, summary } from '../../api/summary.ts';
import { setWarningHandler } from '../../errors/warnings.ts';
import { AutoModel } from '../../models/auto-model.ts';
import { fixtures, goldenOf, readGolden } from '../../models/testing/golden.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type CacheOptions, parseCacheConfig } from '../config/cache-config.ts';
import { callToy, toyModel } from '../testing/toy-model.ts';

let restore: Parameters<typeof setWarningHandler>[0];
beforeAll(() => {
  restore = setWarningHandler(() => {});
});
afterAll(() => void setWarningHandler(restore));

/** Inputs of two elements; the model adds 4·gain to each. */
const steps = Array.from({ length: 16 }, (_, n) => ({
  hidden: [1 + 0.05 * n + 0.02 * Math.sin(n), 2 - 0.1 * n],
  gain: 1 + 0.1 * n * n,
}));
const sizeOf = (values: readonly number[]) => values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length;
const minus = (a: readonly number[], b: readonly number[]) => a.map((value, i) => value - b[i]!);

/** The algorithm once more, on plain numbers. */
function byHand({ threshold, warmup, run }: { threshold: number; warmup: number; run: number }) {
  const outputs: number[][] = [];
  const reused: number[] = [];
  const diffs: Record<number, number> = {};
  let last: { x: number[]; v: number[]; k: number | undefined } | undefined;
  let moved = 0;
  let inRow = 0;
  for (const [n, { hidden: x, gain }] of steps.entries()) {
    if (last?.k !== undefined && n >= warmup && inRow < run) {
      moved += (last.k * sizeOf(minus(x, steps[n - 1]!.hidden))) / sizeOf(last.v);
      diffs[n] = moved;
      if (moved < threshold) {
        outputs.push(last.v.map((value, i) => value + x[i]! - last!.x[i]!));
        reused.push(n);
        inRow++;
        continue;
      }
    }
    const v = x.map((value) => value + 4 * gain);
    last = { x, v, k: last && sizeOf(minus(v, last.v)) / sizeOf(minus(x, last.x)) };
    moved = 0;
    inRow = 0;
    outputs.push(v);
  }
  return { outputs, reused, diffs };
}

describe('EasyCache', () => {
  it.each([
    { threshold: 0.3, warmup: 3, run: 3 },
    { threshold: 0.6, warmup: 2, run: 2 },
    { threshold: 0.9, warmup: 0, run: 99 },
  ])('skips the calls, and gives the outputs, that the formula says: $threshold', async ({
    threshold,
    warmup,
    run,
  }) => {
    const model = await toyModel(3);
    enableCache(model, {
      cacheConfig: {
        cacheType: 'EasyCache',
        residualDiffThreshold: threshold,
        maxWarmupSteps: warmup,
        maxContinuousCachedSteps: run,
      },
    });
    const outputs: number[][] = [];
    for (const step of steps) outputs.push(await callToy(model, step));
    const expected = byHand({ threshold, warmup, run });
    const [stats] = summary(model, { logging: false });
    expect(stats!.cachedSteps).toEqual(expected.reused);
    expect(stats!.cachedSteps.length).toBeGreaterThan(3);
    for (const [n, values] of expected.outputs.entries())
      for (const [i, value] of values.entries()) expect(outputs[n]![i], `step ${n}`).toBeCloseTo(value, 4);
    expect(Object.keys(stats!.residualDiffs)).toEqual(Object.keys(expected.diffs));
    for (const [n, diff] of Object.entries(expected.diffs)) expect(stats!.residualDiffs[n]).toBeCloseTo(diff, 4);
    expect(stats!.flopsShare).toBe(stats!.computedShare);
    // Input and output of the computed step, and the input of a skipped one.
    expect(stats!.peakBytes).toBe(3 * 2 * 4);
    await model.dispose();
  });

  it('keeps guidance branches apart, and begins anew with other sizes', async () => {
    const model = await toyModel(3);
    enableCache(model, { cacheConfig: { cacheType: 'ec', maxWarmupSteps: 2, residualDiffThreshold: 0.9 } });
    const values: number[] = [];
    for (let n = 0; n < 4; n++) {
      values.push((await callToy(model, { gain: 1, hidden: [1 + n / 100, 2], branch: 'cond' }))[0]!);
      values.push((await callToy(model, { gain: 2, hidden: [1 + n / 100, 2], branch: 'uncond' }))[0]!);
    }
    const [stats] = summary(model, { logging: false });
    expect([stats!.cachedSteps, stats!.cfgCachedSteps]).toEqual([
      [2, 3],
      [2, 3],
    ]);
    expect(values.map((value) => Number(value.toFixed(2)))).toEqual([5, 9, 5.01, 9.01, 5.02, 9.02, 5.03, 9.03]);
    await callToy(model, { gain: 1, hidden: [1, 2, 3], branch: 'cond' });
    expect(summary(model, { logging: false })[0]!.calls.at(-1)).toMatchObject({ action: 'compute', step: 4 });
    await model.dispose();
  });

  it.each<[CacheOptions, string]>([
    [{ Fn: 2 }, 'cacheConfig.fnComputeBlocks: has no effect with EasyCache'],
    [{ compat: 'cache-dit' }, 'cacheConfig.compat: has no effect with EasyCache'],
  ])('refuses %j', (options, message) => {
    expect(() => parseCacheConfig({ ...options, cacheType: 'EasyCache' })).toThrow(message);
  });

  it('has a threshold and a name of its own, and no calibrator', async () => {
    const model = await toyModel(3);
    enableCache(model, { cacheConfig: { cacheType: 'easy_cache' } });
    expect(strify(model)).toBe('EasyCache_W8I1M0MC3_R0.05_T0O0');
    expect(() =>
      enableCache(model, { cacheConfig: { cacheType: 'EasyCache' }, calibratorConfig: { type: 'foca' } }),
    ).toThrow('calibratorConfig: EasyCache forecasts in a way of its own');
    await model.dispose();
  });

  it('is what remains for a UNet, whose blocks differ', async () => {
    const model = await AutoModel.fromPretrained(path.join(fixtures, 'models/unet2d'));
    for (const cacheConfig of [{}, { cacheType: 'DBPrune' }, { residualDiffThreshold: 0.1 }] as const) {
      expect(() => enableCache(model, { cacheConfig })).toThrow(/blocks of UNet2DConditionModel differ .*EasyCache/);
    }
    await model.dispose();
  });

  const families = ['dit', 'flux', 'lumina2', 'ltx', 'pixart', 'qwenimage', 'sd3', 'unet2d', 'wan', 'zimage'];
  it.each(families.map(goldenOf))('on %s', async (family) => {
    const model = await AutoModel.fromPretrained(path.join(fixtures, 'models', family));
    const { inputs, tensors } = await readGolden(`models/${family}`);
    enableCache(model, {
      cacheConfig: { cacheType: 'EasyCache', maxWarmupSteps: 1, residualDiffThreshold: 1, enableSeparateCfg: false },
    });
    const run = async () => {
      let sample: Tensor | Tensor[] = [];
      // With inputs that do not move, a skipped call repeats the computed one.
      for (let n = 0; n < 3; n++) ({ sample } = await model.forward(inputs));
      return (Array.isArray(sample) ? sample[0]! : sample).f32;
    };
    if (family === 'zimage')
      await expect(run()).rejects.toThrow('EasyCache needs a model whose output has the shape of its input');
    else {
      const expected = (tensors['output'] ?? tensors['output.0'])!.f32;
      for (const [i, value] of (await run()).entries()) expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-3);
      expect(summary(model, { logging: false })[0]!.cachedSteps).toEqual([2]);
    }
    disableCache(model);
    await model.dispose();
  });
});
