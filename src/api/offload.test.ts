/** Caching × quantised weights × offload: a model whose blocks are read while they run gives the same bits as one in memory. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setWarningHandler } from '../errors/warnings.ts';
import { AutoModel } from '../models/auto-model.ts';
import { fixtures, readGolden } from '../models/testing/golden.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import { convertCheckpoint } from '../quantize/checkpoint/convert-checkpoint.ts';
import { quantize } from '../quantize/quantize.ts';
import { floatTensor, type Tensor } from '../tensor/tensor.ts';
import type { OffloadOptions } from '../weights/offload/options.ts';
import { type EnableCacheOptions, enableCache } from './enable-cache.ts';
import { summary } from './summary.ts';

const flux = path.join(fixtures, 'models/flux');
const { inputs } = await readGolden('models/flux');
const steps = 6;

const caches: Record<string, EnableCacheOptions | undefined> = {
  'no cache': undefined,
  DBCache: {
    cacheConfig: { Fn: 1, Bn: 1, maxWarmupSteps: 2, residualDiffThreshold: 0.5, numInferenceSteps: steps },
    calibratorConfig: { type: 'taylorseer' },
  },
  DBPrune: {
    cacheConfig: { cacheType: 'DBPrune', residualDiffThreshold: 0.5, maxWarmupSteps: 2, numInferenceSteps: steps },
  },
};
const offloads: (OffloadOptions | true)[] = [true, { transferBuckets: 2, prefetchLimit: 0, persistentBuckets: 1 }];

/** The samples of a request whose input moves a little from step to step, and how many calls were answered from the cache. */
async function request(model: TransformerModel, cache: EnableCacheOptions | undefined) {
  const handle = cache && enableCache(model, cache);
  const samples: Tensor['data'][] = [];
  for (let step = 0; step < steps; step++) {
    const { f32, shape } = inputs['hidden_states'] as Tensor;
    const hidden_states = floatTensor(
      Array.from(f32, (x) => x * (1 - step / 50)),
      shape,
    );
    samples.push(((await model.forward({ ...inputs, hidden_states })).sample as Tensor).data);
  }
  const stats = handle && summary(model, { logging: false });
  return { samples, calls: stats?.flatMap(({ calls }) => calls.map(({ action, diff }) => [action, diff])) };
}

let folder: string;
let restore: Parameters<typeof setWarningHandler>[0];
beforeAll(async () => {
  restore = setWarningHandler(() => {});
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-offload-'));
});
afterAll(async () => {
  setWarningHandler(restore);
  await rm(folder, { recursive: true });
});

describe.each(['float32', 'int8_per_row', 'int4_weight_only', 'svdq_int4_r16_dq'])('%s', (quantType) => {
  let from = flux;
  beforeAll(async () => {
    if (quantType === 'float32') return;
    from = path.join(folder, quantType);
    await convertCheckpoint({ from: flux, to: from }, { quantType, diskCache: false });
  });

  it.each(Object.entries(caches))('%s', async (name, cache) => {
    const whole = await AutoModel.fromPretrained(from);
    const expected = await request(whole, cache);
    await whole.dispose();
    if (cache) expect(new Set(expected.calls!.map(([action]) => action)), name).toContain('reuse');
    for (const layerwiseOffload of offloads) {
      const model = await AutoModel.fromPretrained(from, { layerwiseOffload });
      expect(await request(model, cache)).toEqual(expected);
      await model.dispose();
    }
  });
});

it('steps that are re-used read less', async () => {
  const model = await AutoModel.fromPretrained(flux, { layerwiseOffload: { prefetchLimit: 0 } });
  await request(model, undefined);
  const computed = model.offloadSummary!.bytesRead;
  await request(model, caches['DBCache']);
  expect(model.offloadSummary!.bytesRead - computed).toBeLessThan(0.8 * computed);
  await model.dispose();
});

it('quantising is refused, with what to do instead', async () => {
  const model = await AutoModel.fromPretrained(flux, { layerwiseOffload: true });
  await expect(quantize(model, { quantType: 'int8_per_row' })).rejects.toThrow(
    'is offloaded, so its weights stay in their files: quantise the checkpoint first, with `deja-dit quantize --out`',
  );
  await model.dispose();
});
