/** Figures of a request against what they must be by formula, and the text people read. */
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import type { CacheOptions } from '../cache/config/cache-config.ts';
import { callToy, toyModel } from '../cache/testing/toy-model.ts';
import { setWarningHandler } from '../errors/warnings.ts';
import { AutoModel } from '../models/auto-model.ts';
import type { ForwardInputs } from '../models/inputs.ts';
import { fixtures, readGolden } from '../models/testing/golden.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import { disableCache, type EnableCacheOptions, enableCache } from './enable-cache.ts';
import { strify, summary } from './summary.ts';

let restore: Parameters<typeof setWarningHandler>[0];
beforeAll(() => {
  restore = setWarningHandler(() => {});
});
afterAll(() => void setWarningHandler(restore));
afterEach(() => void vi.restoreAllMocks());

/** Re-use of the last residual, whatever the defaults are. */
const reuse = { type: 'taylorseer', order: 0 };

describe('memory', () => {
  let flux: TransformerModel;
  let inputs: ForwardInputs;
  beforeAll(async () => {
    flux = await AutoModel.fromPretrained(path.join(fixtures, 'models/flux'));
    ({ inputs } = await readGolden('models/flux'));
  });
  afterAll(() => flux.dispose());

  const width = 32;
  const sizes = () => {
    const tokens = (name: string) => (inputs[name] as { shape: number[] }).shape[1]!;
    return { image: 4 * width * tokens('hidden_states'), text: 4 * width * tokens('encoder_hidden_states') };
  };
  async function peak(options: EnableCacheOptions, branches: readonly string[]): Promise<number> {
    enableCache(flux, options);
    for (let step = 0; step < 6; step++) for (const branch of branches) await flux.forward(inputs, { branch });
    const [stats] = summary(flux, { logging: false });
    disableCache(flux);
    return stats!.peakBytes;
  }
  const warm: CacheOptions = { maxWarmupSteps: 5, residualDiffThreshold: 0.5 };

  it('of DBCache: a probe, and as many residuals of each stream as the forecaster looks back, per branch', async () => {
    const { image, text } = sizes();
    const taylor = { type: 'taylorseer', order: 2 };
    expect(await peak({ cacheConfig: warm, calibratorConfig: reuse }, ['cond'])).toBe(2 * image + text);
    expect(await peak({ cacheConfig: warm, calibratorConfig: taylor }, ['cond', 'uncond'])).toBe(
      2 * (4 * image + 3 * text),
    );
    const imageOnly = { ...taylor, enableEncoderCalibrator: false };
    expect(await peak({ cacheConfig: warm, calibratorConfig: imageOnly }, ['cond'])).toBe(4 * image + text);
    // The probe's history is remembered too where it corrects the forecast.
    const probe = { type: 'probe', order: 1, snapshots: 3 };
    expect(await peak({ cacheConfig: warm, calibratorConfig: probe }, ['cond'])).toBe(6 * image + 3 * text);
    const sparse = { ...warm, downsampleFactor: 4 };
    expect(await peak({ cacheConfig: sparse, calibratorConfig: reuse }, ['cond'])).toBe(1.25 * image + text);
  });

  it('of DBPrune: the same for every block that may be pruned, with its input for the probe', async () => {
    const { image, text } = sizes();
    const prune = { ...warm, cacheType: 'DBPrune', Fn: 1, Bn: 1 };
    expect(await peak({ cacheConfig: prune }, ['cond'])).toBe(4 * (2 * image + text));
    const calibratorConfig = { type: 'taylorseer', order: 1 };
    expect(await peak({ cacheConfig: prune, calibratorConfig }, ['cond'])).toBe(4 * (3 * image + 2 * text));
  });
});

describe('cost', () => {
  it('of equal blocks is their number', async () => {
    const dit = await AutoModel.fromPretrained(path.join(fixtures, 'models/dit'));
    const { inputs } = await readGolden('models/dit');
    const blocks = dit.definition.blockLists[0]!.count;
    const share = async (cacheConfig: CacheOptions) => {
      enableCache(dit, {
        cacheConfig: { maxWarmupSteps: 1, residualDiffThreshold: 0.5, ...cacheConfig },
        calibratorConfig: reuse,
      });
      for (let step = 0; step < 4; step++) await dit.forward(inputs);
      const [stats] = summary(dit, { logging: false });
      return [stats!.computedShare, stats!.flopsShare];
    };
    // The same inputs again and again: everything is re-used that may be.
    expect(await share({ Fn: 1 })).toEqual([1 / 4, (blocks + 3) / (4 * blocks)]);
    expect(await share({ Fn: 1, Bn: 1 })).toEqual([1 / 4, (blocks + 3 * 2) / (4 * blocks)]);
    expect(await share({ Fn: 1, maxContinuousCachedSteps: 1 })).toEqual([2 / 4, (2 * blocks + 2) / (4 * blocks)]);
    await dit.dispose();
  });
});

describe('text', () => {
  const printed = () => vi.mocked(console.log).mock.calls.map(([text]) => String(text));

  it('has a row per branch, a strip, the reasons, memory and programs', async () => {
    vi.spyOn(console, 'log').mockImplementation(() => {});
    const model = await toyModel(3);
    enableCache(model, {
      cacheConfig: { maxWarmupSteps: 2, residualDiffThreshold: 0.08, maxContinuousCachedSteps: 2 },
      calibratorConfig: reuse,
    });
    for (let step = 0; step < 6; step++)
      for (const branch of ['cond', 'uncond']) await callToy(model, { gain: 1.03 ** step, branch });
    const stats = summary(model);
    expect(stats).toHaveLength(1);
    const [text] = printed();
    const lines = text!.split('\n');
    expect(lines[0]).toBe('ToyPattern3Transformer, blocks: DBCache_F1B0_W2I1M0MC2_R0.08_NONE_S3');
    expect(lines[2]).toMatch(/^\| branch +\| +calls \| +re-used \| +min \| +P25 \| +P50 \| +P75 \| +P95 \| +max \|$/);
    expect(lines[4]).toMatch(/^\| cond +\| +6 \| +3 \| +0\.0300 \|/);
    expect(text).toContain('cond    ■■··■·  3 of 6 re-used');
    expect(text).toContain('decided by: warmup 4, diff 6, max_continuous 2');
    expect(text).toMatch(/computed in full: 50\.0 % of the calls/);
    expect(text).toMatch(/programs: \d+ held \(about \d+ of at most 1074 MB\), \d+ compiled, \d+ uses, 0 evicted/);
    expect(stats[0]!.programs).toEqual(model.programs.stats);
    await model.dispose();
  });

  it('says where a forecaster fell back, and the calls carry it', async () => {
    vi.spyOn(console, 'log').mockImplementation(() => {});
    const model = await toyModel(3);
    enableCache(model, {
      cacheConfig: { maxWarmupSteps: 2, residualDiffThreshold: 1 },
      calibratorConfig: {
        type: 'learned',
        coefficients: { numInferenceSteps: 4, entries: [{ target: 2, positions: [1, 0], weights: [2, -1] }] },
      },
    });
    for (let step = 0; step < 5; step++) await callToy(model, { gain: 1 });
    const [stats] = summary(model);
    const fallback = (target: number) => `nothing fitted for step ${target} from steps 1, 0: Taylor of order 1`;
    expect(stats!.calls.map(({ note }) => note)).toEqual([undefined, undefined, undefined, fallback(3), fallback(4)]);
    expect(printed()[0]).toContain(`note: ${fallback(3)}`);
    await model.dispose();
  });

  it('without a cache, or before the first request, says so', async () => {
    vi.spyOn(console, 'log').mockImplementation(() => {});
    const model = await toyModel(3);
    const pipe = { transformers: { transformer: model } };
    expect(summary(pipe)).toMatchObject([
      { transformer: 'transformer', cacheOptions: null, calls: [], cachedSteps: [], diffs: null },
    ]);
    expect(strify(pipe)).toBe('NONE');
    enableCache(pipe, { cacheConfig: { maxWarmupSteps: 2, residualDiffThreshold: 0.1 }, calibratorConfig: reuse });
    summary(pipe);
    expect(printed()).toEqual([
      'transformer: no cache is enabled, every call is computed in full',
      'transformer, blocks: DBCache_F1B0_W2I1M0MC3_R0.1_NONE: no request yet',
    ]);
    await model.dispose();
  });
});

describe('two transformers', () => {
  it('have statistics each, of the calls each has seen', async () => {
    const [high, low] = [await toyModel(3), await toyModel(2)];
    const pipe = { transformers: { transformer: high, transformer_2: low } };
    enableCache(pipe, {
      cacheConfig: { maxWarmupSteps: 1, residualDiffThreshold: 1 },
      calibratorConfig: reuse,
      paramsModifiers: [{}, { cacheConfig: { maxWarmupSteps: 2 } }],
    });
    for (let step = 0; step < 3; step++) await callToy(high, { gain: 1 });
    for (let step = 0; step < 4; step++) await callToy(low, { gain: 1 });
    const stats = summary(pipe, { logging: false });
    expect(stats.map(({ transformer, cachedSteps }) => [transformer, cachedSteps])).toEqual([
      ['transformer', [1, 2]],
      ['transformer_2', [2, 3]],
    ]);
    expect(strify(pipe)).toBe('DBCache_F1B0_W1I1M0MC3_R1.0_NONE_S2+DBCache_F1B0_W2I1M0MC3_R1.0_NONE_S2');
    await high.dispose();
    await low.dispose();
  });
});
