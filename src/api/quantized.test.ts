/** `enableCache` with the configs of cache-dit's files that are not the cache's own: each takes effect or is refused. */
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { BlockAdapter } from '../cache/adapters/block-adapter.ts';
import { setWarningHandler } from '../errors/warnings.ts';
import { AutoModel } from '../models/auto-model.ts';
import { fixtures, readGolden } from '../models/testing/golden.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import type { WeightStore } from '../weights/weight-store.ts';
import { type EnableCacheOptions, enableCache } from './enable-cache.ts';
import { loadConfigs } from './load-configs.ts';
import { summary, summaryText } from './summary.ts';

let model: TransformerModel;
beforeEach(async () => {
  model = await AutoModel.fromPretrained(path.join(fixtures, 'models/flux'));
});
afterEach(() => model.dispose());
const quantized = () => (model.weights as WeightStore).quantizedNames.length;

it('quantises, then caches', async () => {
  const cacheConfig = { Fn: 1, maxWarmupSteps: 1, residualDiffThreshold: 1 };
  const promise = enableCache(model, { cacheConfig, quantizeConfig: { quantType: 'int8_per_row' } });
  expect(await promise).toBe(model);
  expect(quantized()).toBe(52);
  const { inputs } = await readGolden('models/flux');
  for (let step = 0; step < 3; step++) await model.forward(inputs);
  const [stats] = summary(model, { logging: false });
  expect(stats!.cachedSteps).toHaveLength(2);
  const { int8Product } = model.programs.backend.capabilities;
  expect(stats!.int8Product).toBe(int8Product);
  expect(summaryText(stats!)).toContain(`int8 products: ${int8Product === 'u8s8' ? 'u8·s8' : 'u8·u8'}`);
});

it('as in cache-dit caches nothing where only quantising is asked for', async () => {
  const warnings: string[] = [];
  const restore = setWarningHandler((message) => warnings.push(message));
  try {
    await enableCache(new BlockAdapter({ model }), { quantizeConfig: { quant_type: 'int4' } });
    expect(quantized()).toBe(52);
    expect(summary(model, { logging: false })[0]!.int8Product).toBeNull();
    enableCache(model, { cacheConfig: null, attentionBackend: 'native' });
    expect(model.defaultCache).toBeUndefined();
    expect(warnings).toEqual([expect.stringMatching(/^cacheConfig: is left out, so nothing is cached/)]);
  } finally {
    setWarningHandler(restore);
  }
});

it('takes what loadConfigs reads', async () => {
  const content = {
    cache_config: { Fn_compute_blocks: 1 },
    attention_backend: 'native',
    quantize_config: { quant_type: 'int8_weight_only', repeated_blocks: ['transformer_blocks'] },
  };
  await enableCache(model, loadConfigs(content));
  expect(quantized()).toBe(28);
  expect(model.defaultCache).toBeDefined();
});

it("takes options in Python's spelling, and none that it does not know", () => {
  const options = { cache_config: { Fn_compute_blocks: 2 } } as EnableCacheOptions;
  enableCache(model, options);
  expect(summary(model, { logging: false })[0]!.cacheOptions!.cacheConfig).toMatchObject({ fnComputeBlocks: 2 });
  expect(() => enableCache(model, { cacheConfigs: {} } as EnableCacheOptions)).toThrow('did you mean cacheConfig?');
});

it.each<[EnableCacheOptions, RegExp]>([
  [{ parallelismConfig: { ulysses_size: 1 } }, /^parallelismConfig.ulyssesSize: no size is above 1/],
  [{ attentionBackend: 'sage' }, /^attentionBackend: 'sage' needs/],
  [{ attentionBackend: 'native', calibratorConfig: { type: 'foca' } }, /^calibratorConfig: does nothing without/],
  [{ cacheConfig: { Fn: 99 } }, /fnComputeBlocks/],
  [{ cacheConfig: {}, paramsModifiers: [{ cacheConfig: { Fn: -1 } }] }, /fnComputeBlocks/],
  [{}, /^quantizeConfig\.quantType: unknown type 'int9'/],
])('%j is refused before anything is quantised', async (options, message) => {
  const quantType = Object.keys(options).length === 0 ? 'int9' : 'int8_per_row';
  const { parallelismConfig } = options;
  if (parallelismConfig) expect(() => enableCache(model, options)).toThrow(message);
  await expect(enableCache(model, { ...options, quantizeConfig: { quantType } })).rejects.toThrow(message);
  expect(quantized()).toBe(0);
  expect(model.defaultCache).toBeUndefined();
});
