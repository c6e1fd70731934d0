/** Models whose blocks are read while they run compute what they compute whole, on every backend, and fail by name. */
import { copyFile, cp, mkdtemp, rm, truncate } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createBackend } from '../runtime/create-backend.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { fromFloat32 } from '../tensor/convert.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { OffloadOptions } from '../weights/offload/options.ts';
import { readSafetensors } from '../weights/safetensors/safetensors.ts';
import { writeSafetensors } from '../weights/safetensors/write-safetensors.ts';
import { AutoModel } from './auto-model.ts';
import type { LoadOptions } from './load/load-options.ts';
import { fixtures, readGolden } from './testing/golden.ts';
import { loadEncoder } from './text-encoders/testing/parity.ts';
import type { TransformerModel } from './transformer-model.ts';

const weightsName = 'diffusion_pytorch_model.safetensors';
const flux = path.join(fixtures, 'models/flux');
const { inputs } = await readGolden('models/flux');

let folder: string;
let models: TransformerModel[];
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-offload-'));
  models = [];
});
afterEach(async () => {
  await Promise.all(models.map((model) => model.dispose()));
  await rm(folder, { recursive: true });
});

async function load(from: string, options: LoadOptions = {}): Promise<TransformerModel> {
  const model = await AutoModel.fromPretrained(from, options);
  models.push(model);
  return model;
}

const samples = async (model: TransformerModel, args = inputs) => {
  const { sample } = await model.forward(args);
  return (Array.isArray(sample) ? sample : [sample]).map(({ data }) => data);
};

describe('equal bit for bit to the model in memory', () => {
  it.each<[string, OffloadOptions | true]>([
    ['flux', true],
    ['flux', { prefetchLimit: 0 }],
    ['flux', { transferBuckets: 2, prefetchLimit: 0 }],
    ['flux', { persistentBuckets: 2, persistentBins: 2, maxInflightPrefetchBytes: '1MiB' }],
    ['dit', true],
    ['flux2', true],
    ['hunyuanvideo', true],
    ['lumina2', true],
    ['sana', true],
    ['wan', { persistent_buckets: 1 }],
    ['zimage', true],
  ])('%s %j', async (family, layerwiseOffload) => {
    const from = path.join(fixtures, 'models', family);
    const golden = await readGolden(`models/${family}`);
    const expected = await samples(await load(from), golden.inputs);
    const model = await load(from, { layerwiseOffload });
    for (let step = 0; step < 2; step++) expect(await samples(model, golden.inputs)).toEqual(expected);
  });

  it('bfloat16 weights, which stay so', async () => {
    await cp(flux, folder, { recursive: true });
    const narrow = Object.entries(await readSafetensors(path.join(flux, weightsName))).map(([name, { f32, shape }]) => [
      name,
      new Tensor('bfloat16', fromFloat32('bfloat16', f32), shape),
    ]);
    await writeSafetensors(path.join(folder, weightsName), Object.fromEntries(narrow));
    const expected = await samples(await load(folder));
    const model = await load(folder, { layerwiseOffload: true });
    expect(await samples(model)).toEqual(expected);
    const whole = await load(flux, { layerwiseOffload: true });
    expect(2 * model.offloadSummary!.bytesPerForward).toBe(whole.offloadSummary!.bytesPerForward);
    expect(await samples(await load(folder, { layerwiseOffload: true, weightDtype: 'float32' }))).toEqual(expected);
  });

  it.each([{ backend: 'wasm' }, { worker: true }] as const)('on backend %j', async (options) => {
    const programs = new ProgramCache(await createBackend(options));
    try {
      const expected = await samples(await load(flux, { programs }));
      const model = await load(flux, { programs, layerwiseOffload: true });
      for (let step = 0; step < 2; step++) expect(await samples(model)).toEqual(expected);
      await Promise.all(models.splice(0).map((loaded) => loaded.dispose()));
    } finally {
      await programs.backend.dispose();
    }
  });

  it('requests that run at the same time, of different sizes', async () => {
    const other = (await readGolden('models/flux', 'io_b2')).inputs;
    const whole = await load(flux);
    const expected = [await samples(whole), await samples(whole, other)];
    const model = await load(flux, { layerwiseOffload: { prefetchLimit: 0 } });
    const found = await Promise.all([inputs, other, inputs, other].map((args) => samples(model, args)));
    expect(found).toEqual([...expected, ...expected]);
  });
});

it.each([
  't5_v1_1',
  'umt5',
  'clip_l',
  'clip_g_proj',
  'gemma2',
  'mistral3',
  'qwen2_5_vl',
])('text encoder %s computes the same', async (kind) => {
  const folder = path.join(fixtures, 'text-encoders', kind);
  const { input_ids, attention_mask } = await readSafetensors(path.join(folder, 'io.safetensors'));
  const args = { input_ids, attention_mask, output_hidden_states: true };
  const whole = await loadEncoder(folder);
  const model = await loadEncoder(folder, { layerwiseOffload: { prefetchLimit: 0 } });
  expect(await model.forward(args)).toEqual(await whole.forward(args));
  expect(model.offloadSummary!.bytesRead).toBe(model.offloadSummary!.bytesPerForward);
  await Promise.all([whole.dispose(), model.dispose()]);
});

describe('the summary', () => {
  it('counts what is held and read', async () => {
    const model = await load(flux, { layerwiseOffload: { persistentBuckets: 1, prefetchLimit: 0 } });
    const whole = await load(flux);
    expect(whole.offloadSummary).toBeUndefined();
    const { bytesPerForward, residentBytes, bufferBytes, ...counts } = model.offloadSummary!;
    expect(counts).toEqual({
      targets: 6,
      buckets: 6,
      persistentBuckets: 1,
      prefetchLimit: 0,
      bytesRead: 0,
      bucketsRead: 0,
      waitTime: 0,
    });
    expect(residentBytes + bytesPerForward).toBe(whole.weights.bytes);
    expect(model.weights.bytes).toBe(residentBytes + bufferBytes);
    expect(model.weights.bytes).toBeLessThan(0.7 * whole.weights.bytes);
    await samples(model);
    await samples(model);
    const after = model.offloadSummary!;
    expect(after).toMatchObject({ bytesRead: 2 * bytesPerForward, bucketsRead: 10 });
    expect(after.waitTime).toBeGreaterThan(0);
  });

  it('equal blocks share their programs, wherever they persist', async () => {
    const programs = new ProgramCache(await createBackend({ threads: 1 }));
    const model = await load(flux, { programs, layerwiseOffload: { persistentBuckets: 2, persistentBins: 2 } });
    await samples(model);
    // Two double blocks, of which the first has the embeddings and the second the join; three equal single ones, and the last.
    expect(programs.stats).toMatchObject({ compiled: 4, hits: 8 });
    await model.dispose();
    await programs.backend.dispose();
  });
});

describe('failures', () => {
  it('a file that was cut names file and tensor, and the model recovers with it', async () => {
    await cp(flux, folder, { recursive: true });
    const expected = await samples(await load(flux));
    const model = await load(folder, { layerwiseOffload: true });
    expect(await samples(model)).toEqual(expected);
    await truncate(path.join(folder, weightsName), 100_000);
    await expect(samples(model)).rejects.toMatchObject({
      code: 'INVALID_FILE',
      path: path.join(folder, weightsName),
      message: expect.stringMatching(/cut while "(single_)?transformer_blocks\.\d\..*" was being read/),
    });
    await copyFile(path.join(flux, weightsName), path.join(folder, weightsName));
    expect(await samples(model)).toEqual(expected);
  });

  it('an abort ends a call between two blocks; the next is right', async () => {
    const model = await load(flux, { layerwiseOffload: { prefetchLimit: 0 } });
    const expected = await samples(model);
    const read = model.offloadSummary!.bucketsRead;
    const controller = new AbortController();
    const call = model.forward(inputs, { signal: controller.signal });
    const stopped = expect(call).rejects.toMatchObject({ code: 'ABORTED' });
    while (model.offloadSummary!.bucketsRead < read + 2) await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    await stopped;
    expect(model.offloadSummary!.bucketsRead).toBeLessThan(read + 5);
    expect(await samples(model)).toEqual(expected);
  });

  it('a model that is disposed while it runs says so', async () => {
    const model = await load(flux, { layerwiseOffload: true });
    await samples(model);
    const call = samples(model);
    const stopped = expect(call).rejects.toMatchObject({ code: 'DISPOSED' });
    await model.dispose();
    await stopped;
  });

  it('options that leave nothing to read are refused', async () => {
    await expect(load(flux, { layerwiseOffload: { persistentBuckets: 6 } })).rejects.toThrow('persistentBuckets');
  });
});
