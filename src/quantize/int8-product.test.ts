/**
 * Products of 8-bit numbers are exact on every backend and processor, however they are computed; and how they are computed shows nowhere
 * but in the time it takes.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setWarningHandler } from '../errors/warnings.ts';
import { GraphBuilder } from '../graph/builder.ts';
import { AutoModel } from '../models/auto-model.ts';
import { fixtures, readGolden } from '../models/testing/golden.ts';
import { linear } from '../nn/linear.ts';
import { Module } from '../nn/module.ts';
import { type Backend, type Int8Product, int8Products } from '../runtime/backend.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { takeDown } from '../runtime/host-tensors.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { Generator } from '../tensor/generator.ts';
import { floatTensor, Tensor } from '../tensor/tensor.ts';
import type { WeightFormat } from '../weights/formats/weight-format.ts';
import { readSafetensors } from '../weights/safetensors/safetensors.ts';
import { memoryWeights, type WeightSource } from '../weights/weight-source.ts';
import { WeightStore } from '../weights/weight-store.ts';
import { convertCheckpoint } from './checkpoint/convert-checkpoint.ts';
import { saveQuantized } from './checkpoint/save-checkpoint.ts';
import { quantize } from './quantize.ts';

const format: WeightFormat = { kind: 'int8', scales: 'tensor', activations: 'tensor' };
const generator = new Generator(11);

/** Integers from `low` to `high`, both of which occur; some runs of them, so that neighbours are large together. */
function integers(count: number, [low, high]: readonly [number, number]): Float32Array {
  const noise = generator.randn([count]).f32;
  const values = noise.map((x) => Math.round(Math.min(1, Math.max(0, 0.5 + x / 2)) * (high - low)) + low);
  for (const [i, extreme] of [low, low, high, high].entries()) if (i < count) values[i] = extreme;
  return values;
}

interface Product {
  rows: number;
  inner: number;
  out: number;
  /** Of activations; integers from 0 to 255, or 128 less, are their own codes. */
  range: readonly [number, number];
  /** Largest weight. */
  top: number;
}

/** A layer loaded from its stored parts and run, and what it should give. All numbers fit float32. */
async function run(backend: Backend, { rows, inner, out, range, top }: Product) {
  const x = integers(rows * inner, range);
  const codes = Int8Array.from(integers(inner * out, [-top, top]));
  const source: WeightSource = {
    ...memoryWeights({
      'ff.weight.codes': new Tensor('int8', codes, [inner, out]),
      'ff.weight.scale': floatTensor([1]),
    }),
    quantized: new Map([['ff.weight', { format, shape: [out, inner] }]]),
  };
  const store = await WeightStore.load(source, { backend, origin: 'test' });
  const g = new GraphBuilder();
  g.output('y', linear(new Module(g, store, 'ff'), g.input('x', 'float32', [rows, inner]), out, { bias: false }));
  const graph = g.finish();
  const executable = await backend.compile(graph);
  const feeds = Object.fromEntries(graph.weights.map(({ slot, name }) => [slot, store.get(name)]));
  const input = backend.upload(floatTensor(x, [rows, inner]));
  const actual = (await takeDown(backend, await executable.run({ ...feeds, x: input }))).y!.f32;
  input.dispose();
  await executable.dispose();

  const expected = new Float32Array(rows * out);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < out; column++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += x[row * inner + k]! * codes[k * out + column]!;
      expected[row * out + column] = sum;
    }
  }
  const { dtype, data, shape } = await store.read('ff.weight.codes');
  // What is read may be the store's own memory, which goes with it.
  const read = new Tensor(dtype, data.slice(), shape);
  store.dispose();
  return { actual, expected, codes, read };
}

const sizes = [
  [1, 4, 16],
  [1, 130, 33],
  [2, 31, 5],
  [7, 64, 1],
  [9, 384, 128],
  [64, 257, 65],
] as const;
const ranges = [
  [0, 255],
  [-128, 127],
  [-255, 0],
] as const;

async function deviations(backend: Backend, top: number): Promise<string[]> {
  const wrong: string[] = [];
  for (const [rows, inner, out] of sizes) {
    for (const range of ranges) {
      const { actual, expected } = await run(backend, { rows, inner, out, range, top });
      // Zero activations are rounded with a scale that is not quite one.
      const off = actual.findIndex((value, i) => Math.abs(value - expected[i]!) > 1e-6 * 255 * top * inner);
      if (off >= 0) wrong.push(`[${rows}, ${inner}] · [${inner}, ${out}]: ${actual[off]} for ${expected[off]}`);
    }
  }
  return wrong;
}

describe.each([
  ['cpu', { backend: 'cpu' }],
  ['wasm', { backend: 'wasm' }],
  ['cpu in a worker', { backend: 'cpu', worker: true }],
] as const)('%s', (_, options) => {
  let warnings: string[];
  let restore: Parameters<typeof setWarningHandler>[0];
  beforeAll(() => {
    warnings = [];
    restore = setWarningHandler((message) => warnings.push(message));
  });
  afterAll(() => void setWarningHandler(restore));

  it('the product it chooses is exact for all codes', async () => {
    const backend = await createBackend(options);
    const { int8Product, signedWeightsExact } = backend.capabilities;
    expect(int8Product).toBe(signedWeightsExact ? 'u8s8' : 'u8u8');
    expect(await deviations(backend, 127)).toEqual([]);
    await backend.dispose();
    expect(warnings).toEqual([]);
  });

  it('unsigned weights are exact for all codes, and read back as they came', async () => {
    const backend = await createBackend({ ...options, int8Product: 'u8u8' });
    expect(backend.capabilities.int8Product).toBe('u8u8');
    expect(await deviations(backend, 127)).toEqual([]);
    const { codes, read } = await run(backend, { rows: 1, inner: 31, out: 5, range: [0, 255], top: 127 });
    expect(read).toEqual(new Tensor('int8', codes, [31, 5]));
    await backend.dispose();
  });

  it('signed weights are exact for all codes where that is said of them, and for small ones everywhere', async () => {
    const backend = await createBackend({ ...options, int8Product: 'u8s8' });
    const { signedWeightsExact } = backend.capabilities;
    // Two products of 64 with 255 fit 16 bits.
    expect(await deviations(backend, 64)).toEqual([]);
    expect((await deviations(backend, 127)).length > 0).toBe(!signedWeightsExact);
    expect(warnings.length).toBe(signedWeightsExact ? 0 : 1);
    await backend.dispose();
  });
});

it('an unknown product is refused by name', async () => {
  await expect(createBackend({ int8Product: 's8s8' as Int8Product })).rejects.toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT', path: 'int8Product' }),
  );
});

describe('a model', () => {
  const original = path.join(fixtures, 'models/flux');
  const weightFile = 'diffusion_pytorch_model.safetensors';
  let folder: string;
  let restore: Parameters<typeof setWarningHandler>[0];
  beforeAll(async () => {
    // Signed weights are allowed where they overflow, with a warning; nothing is computed with them here.
    restore = setWarningHandler(() => {});
    folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-int8-'));
    await convertCheckpoint({ from: original, to: path.join(folder, 'int8') }, { quantType: 'int8_per_row' });
  });
  afterAll(async () => {
    setWarningHandler(restore);
    await rm(folder, { recursive: true });
  });

  it('is saved as it is stored, to the byte, whichever product it ran with', async () => {
    const stored = path.join(folder, 'int8');
    const files: Buffer[][] = [];
    for (const int8Product of int8Products) {
      const programs = new ProgramCache(await createBackend({ int8Product }));
      const at = (name: string) => path.join(folder, `${name}-${int8Product}`);
      const loaded = await AutoModel.fromPretrained(stored, { programs });
      await saveQuantized(loaded, at('loaded'), { quantType: 'int8_per_row' });
      const inPlace = await AutoModel.fromPretrained(original, { programs });
      await quantize(inPlace, { quantType: 'int8_per_row', serializeTo: at('in-place'), diskCache: false });
      await Promise.all([loaded.dispose(), inPlace.dispose()]);
      await programs.backend.dispose();
      files.push(await Promise.all(['loaded', 'in-place'].map((name) => readFile(path.join(at(name), weightFile)))));
    }
    expect(files[1]).toEqual(files[0]);
    const [before, after] = await Promise.all(
      [stored, path.join(folder, 'loaded-u8u8')].map((from) => readSafetensors(path.join(from, weightFile))),
    );
    for (const [name, tensor] of Object.entries(before!)) expect(after![name]!.float(), name).toEqual(tensor.float());
  });

  it('computes the same whole, offloaded, quantised in place and in another thread', async () => {
    const { inputs } = await readGolden('models/flux');
    const programs = new ProgramCache(await createBackend({ int8Product: 'u8u8' }));
    const inWorker = new ProgramCache(await createBackend({ int8Product: 'u8u8', worker: true }));
    const stored = path.join(folder, 'int8');
    const models = [
      await AutoModel.fromPretrained(stored, { programs }),
      await AutoModel.fromPretrained(stored, {
        programs,
        layerwiseOffload: { prefetchLimit: 0, persistentBuckets: 1 },
      }),
      await AutoModel.fromPretrained(original, { programs }),
      await AutoModel.fromPretrained(stored, { programs: inWorker }),
    ];
    await quantize(models[2]!, { quantType: 'int8_per_row', diskCache: false });
    const samples = await Promise.all(models.map(async (model) => (await model.forward(inputs)).sample));
    for (const sample of samples) expect(sample).toEqual(samples[0]);
    await Promise.all(models.map((model) => model.dispose()));
    await Promise.all([programs.backend.dispose(), inWorker.backend.dispose()]);
  });
});
