/** Caching × LoRA × quantised weights × offload: each combination computes what the same one computes in memory, or without. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EnableCacheOptions, enableCache } from '../../api/enable-cache.ts';
import { summary } from '../../api/summary.ts';
import { setWarningHandler } from '../../errors/warnings.ts';
import { AutoModel } from '../../models/auto-model.ts';
import { fixtures, readGolden, relativeError } from '../../models/testing/golden.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { convertCheckpoint } from '../../quantize/checkpoint/convert-checkpoint.ts';
import { saveQuantized } from '../../quantize/checkpoint/save-checkpoint.ts';
import { quantize } from '../../quantize/quantize.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { loadLora, unloadLora } from './lora.ts';

const flux = path.join(fixtures, 'models/flux');
const lora = path.join(fixtures, 'lora/pipeline');
const { inputs } = await readGolden('models/flux');
const steps = 6;

const caches: [string, EnableCacheOptions | undefined][] = [
  ['no cache', undefined],
  [
    'DBCache',
    { cacheConfig: { Fn: 1, Bn: 1, maxWarmupSteps: 2, residualDiffThreshold: 0.5, numInferenceSteps: steps } },
  ],
];

/** Samples of a request whose input moves a little from step to step, and how its calls were answered. */
async function request(model: TransformerModel, cache: EnableCacheOptions | undefined) {
  const handle = cache && enableCache(model, cache);
  const samples: Tensor[] = [];
  for (let step = 0; step < steps; step++) {
    const { f32, shape } = inputs['hidden_states'] as Tensor;
    const hidden_states = floatTensor(
      Array.from(f32, (x) => x * (1 - step / 50)),
      shape,
    );
    samples.push((await model.forward({ ...inputs, hidden_states })).sample as Tensor);
  }
  const stats = handle && summary(model, { logging: false });
  return { samples, actions: stats?.flatMap(({ calls }) => calls.map(({ action }) => action)) };
}

let folder: string;
let restore: Parameters<typeof setWarningHandler>[0];
beforeAll(async () => {
  restore = setWarningHandler(() => {});
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-lora-'));
});
afterAll(async () => {
  setWarningHandler(restore);
  await rm(folder, { recursive: true });
});

/** Bounds are those of models without LoRAs, see `quantize/families.test.ts`. */
describe.each([
  ['float32', 0],
  ['int8_per_row', 0.05],
  ['int4_weight_only', 0.35],
])('%s', (quantType, bound) => {
  let from = flux;
  beforeAll(async () => {
    if (quantType === 'float32') return;
    from = path.join(folder, quantType);
    await convertCheckpoint({ from: flux, to: from }, { quantType, diskCache: false });
  });

  it.each(caches)('%s', async (_, cache) => {
    const exact = await AutoModel.fromPretrained(flux);
    await loadLora(exact, lora);
    const { samples: exactSamples } = await request(exact, cache);
    await exact.dispose();

    const whole = await AutoModel.fromPretrained(from);
    const bytes = whole.weights.bytes;
    const without = await request(whole, cache);
    await loadLora(whole, lora);
    expect(whole.weights.bytes).toBeGreaterThan(bytes);
    const beside = await request(whole, cache);
    if (cache) expect(beside.actions).toContain('reuse');
    for (const [i, sample] of beside.samples.entries()) {
      expect(relativeError(sample, exactSamples[i]!)).toBeLessThanOrEqual(bound);
      expect(relativeError(sample, without.samples[i]!)).toBeGreaterThan(0.3);
    }
    unloadLora(whole);
    expect(await request(whole, cache)).toEqual(without);
    expect(whole.weights.bytes).toBe(bytes);
    await whole.dispose();

    for (const layerwiseOffload of [true, { transferBuckets: 2, prefetchLimit: 0, persistentBuckets: 1 }]) {
      const offloaded = await AutoModel.fromPretrained(from, { layerwiseOffload });
      await loadLora(offloaded, lora);
      expect(await request(offloaded, cache)).toEqual(beside);
      unloadLora(offloaded);
      expect(await request(offloaded, cache)).toEqual(without);
      await offloaded.dispose();
    }
  });
});

it('quantising beside a LoRA gives the weights that it gives without, and saves those alone', async () => {
  const options = { quantType: 'int8_per_row', diskCache: false };
  const [before, after] = [await AutoModel.fromPretrained(flux), await AutoModel.fromPretrained(flux)];
  await loadLora(before, lora);
  await quantize(before, options);
  await quantize(after, options);
  const plain = await request(after, undefined);
  await loadLora(after, lora);
  expect(await request(before, undefined)).toEqual(await request(after, undefined));

  const saved = path.join(folder, 'saved');
  await saveQuantized(before, saved, { quantType: 'int8_per_row' });
  const loaded = await AutoModel.fromPretrained(saved);
  expect(await request(loaded, undefined)).toEqual(plain);
  await Promise.all([before, after, loaded].map((model) => model.dispose()));
});
