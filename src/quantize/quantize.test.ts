/** Quantising loaded models: what they compute afterwards, what the report says, and what is refused. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AutoModel, loadModel } from '../models/auto-model.ts';
import { GraphModel } from '../models/graph-model.ts';
import { fixtures, readGolden } from '../models/testing/golden.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import { floatTensor, intTensor, type Tensor } from '../tensor/tensor.ts';
import type { WeightStore } from '../weights/weight-store.ts';
import { decode } from './formats/encode.ts';
import { relativeError } from './formats/scales.ts';
import { quantize } from './quantize.ts';
import { summarizeReport } from './report.ts';
import { hostProducts as products } from './testing/host-products.ts';

const flux = () => AutoModel.fromPretrained(path.join(fixtures, 'models/flux'));
const storeOf = (model: { weights: unknown }) => model.weights as WeightStore;
const inputs = (await readGolden('models/flux')).inputs;
const forward = async (model: TransformerModel) => ((await model.forward(inputs)).sample as Tensor).f32;

let model: TransformerModel;
let expected: Float32Array;
beforeEach(async () => {
  model = await flux();
  expected = await forward(model);
});
afterEach(() => model.dispose());

/** The stored parts of a weight as a matrix again. */
async function decoded(store: WeightStore, name: string): Promise<Tensor> {
  const { format, shape } = store.info(name)!;
  const names = store.names.filter((part) => part.startsWith(`${name}.`));
  const parts = await Promise.all(
    names.map(async (part) => [part.slice(name.length + 1), await store.read(part)] as const),
  );
  const { data } = await decode(Object.fromEntries(parts), format!, { columns: shape[1]!, products });
  return floatTensor(data, shape);
}

describe('quantize', () => {
  it.each([
    ['int8_weight_only', 0.02],
    ['float8_weight_only', 0.08],
    ['int4_weight_only', 0.3],
    ['nvfp4_weight_only', 0.3],
    ['svdq_int4_r16_dq', 0.15],
    ['svdq_nvfp4_r16_dq', 0.15],
  ])('%s: the model computes what it would with the decoded weights', async (quantType, tolerance) => {
    await quantize(model, { quantType, diskCache: false });
    const actual = await forward(model);
    expect(relativeError(actual, expected)).toBeGreaterThan(1e-4);
    expect(relativeError(actual, expected)).toBeLessThan(tolerance);

    const plain = await flux();
    const quantized = storeOf(model).quantizedNames;
    expect(quantized.length).toBe(52);
    for (const name of quantized) {
      if (storeOf(model).info(name)!.format!.kind !== 'int8' || quantType === 'int8_weight_only')
        storeOf(plain).set(name, await decoded(storeOf(model), name));
    }
    // Layers that fell back round their activations too; those stay out of the comparison. Beside 4-bit weights activations are
    // rounded to 8 bits, which costs a tenth of what the weights' rounding does; how exactly is in `execution.test.ts`.
    const rounding = quantType === 'int4_weight_only' ? tolerance / 10 : 1e-5;
    if (!quantType.startsWith('svdq_int4')) expect(relativeError(actual, await forward(plain))).toBeLessThan(rounding);
    await plain.dispose();
  });

  it.each([
    ['int8_per_row', 0.03],
    ['int8_per_tensor', 0.04],
    ['float8_per_row', 0.1],
    ['float8_per_tensor', 0.1],
  ])('%s rounds activations as well', async (quantType, tolerance) => {
    const { components } = await quantize(model, { quantType });
    expect(relativeError(await forward(model), expected)).toBeLessThan(tolerance);
    const [component] = components;
    expect(component).toMatchObject({ component: 'model', className: 'FluxTransformer2DModel' });
    expect(component!.layers).toHaveLength(52);
    expect(component!.bytes.after).toBe(storeOf(model).bytes);
    expect(component!.bytes.after).toBeLessThan(0.5 * component!.bytes.before);
  });

  it('reports fallbacks, kept layers and the ten worst', async () => {
    const report = await quantize(model, { quantType: 'svdq_int4_r16_dq', measure: true, diskCache: false });
    const lines = summarizeReport(report).join('\n');
    expect(lines).toMatch(/4 layers svdq_int4_r16_dq: rank 16 \+ int4 in blocks of 64/);
    expect(lines).toMatch(
      /44 layers int8_per_tensor instead of svdq_int4_r16_dq, since 32 inputs are not divisible by 64/,
    );
    expect(lines).toMatch(/8 layers kept: excludeLayers has 'embedder'/);
    expect(lines).toMatch(/relative error of weights: mean \d\.\d\d %, the largest:(\n {4}\d+\.\d\d % {2}\S+){10}$/);
  });

  it('observes activations, and smooths and measures with them', async () => {
    const quantizable = {
      repeatedBlocks: ['transformer_blocks'],
      filterFn: ({ name }: { name: string }) => name.endsWith('ff.net.2'),
    };
    const calibrateFn = () => forward(model);
    const options = { quantType: 'svdq_int4_r16', measure: true, calibrateFn, diskCache: false, ...quantizable };
    const { components } = await quantize(model, options);
    expect(components[0]!.layers).toHaveLength(2);
    for (const { outputError, weightError, format } of components[0]!.layers) {
      expect(outputError).toBeLessThan(0.1);
      expect(weightError).toBeLessThan(0.1);
      expect(format).toMatchObject({ smooth: true, rank: 16 });
    }
    expect(relativeError(await forward(model), expected)).toBeLessThan(0.1);
  });

  it('quantises what is left, once', async () => {
    await quantize(model, { quantType: 'int8_per_row', repeatedBlocks: ['transformer_blocks'] });
    const { components } = await quantize(model, { quantType: 'int4_weight_only' });
    expect(components[0]!.layers.every(({ name }) => name.startsWith('single_transformer_blocks.'))).toBe(true);
    const kept = components[0]!.kept.filter(({ reason }) => reason.startsWith('is int8 per row'));
    expect(kept).toHaveLength(28);
    await expect(quantize(model)).rejects.toThrow(/no layer is left to quantise/);
  });

  it('refuses what it cannot do, and leaves the model as it was', async () => {
    await expect(quantize(model, { quantType: 'svdq_int4_r16' })).rejects.toThrow(/calibrateFn: is missing/);
    const idle = { quantType: 'svdq_int4_r16', calibrateFn: async () => {} };
    await expect(quantize(model, idle)).rejects.toThrow(/calibrateFn: ran no layer of FluxTransformer2DModel/);
    await expect(quantize(model, { componentsToQuantize: ['transformer'] })).rejects.toThrow(/this is a single model/);
    const pipeline = { transformers: { transformer: model } };
    const misspelt = { componentsToQuantize: ['transfomer'] };
    await expect(quantize(pipeline, misspelt)).rejects.toThrow(/transfomer: is no model.*did you mean transformer\?/);
    const strict = { quantType: 'nvfp4', perTensorFallback: false, regionalQuantize: false, excludeLayers: ['x_'] };
    await expect(quantize(model, strict)).rejects.toThrow(/nvfp4 cannot hold context_embedder \(24 inputs/);
    expect(await forward(model)).toEqual(expected);
  });

  it('hears an abort between two layers; the model runs on with what is done', async () => {
    const controller = new AbortController();
    const done: string[] = [];
    const onProgress = ({ layer }: { layer: string }) => {
      done.push(layer);
      // As a signal handler would: not before the event loop turns.
      if (done.length === 3) setImmediate(() => controller.abort());
    };
    const options = { signal: controller.signal, onProgress };
    await expect(quantize(model, { quantType: 'int8_per_row' }, options)).rejects.toMatchObject({ code: 'ABORTED' });
    expect(storeOf(model).quantizedNames).toEqual(done.map((name) => `${name}.weight`));
    expect(done.length).toBeLessThan(6);
    expect(relativeError(await forward(model), expected)).toBeLessThan(0.02);
  });

  it('quantises components of a pipeline, each in its own way', async () => {
    const encoder = (await loadModel(path.join(fixtures, 'text-encoders/t5_v1_1'))) as GraphModel;
    expect(encoder).toBeInstanceOf(GraphModel);
    const input_ids = intTensor([5, 17, 42, 8, 1], [1, 5]);
    const hidden = async () => Object.values(await encoder.forward({ input_ids }))[0]!.f32;
    const before = await hidden();
    const { components } = await quantize(
      { transformers: { transformer: model }, models: { text_encoder: encoder } },
      {
        quantType: 'int8_per_row',
        componentsToQuantize: { transformer: {}, text_encoder: { quant_type: 'int8_weight_only' } },
      },
    );
    expect(components.map(({ component, layers }) => [component, layers[0]!.type])).toEqual([
      ['transformer', 'int8_per_row'],
      ['text_encoder', 'int8_weight_only'],
    ]);
    expect(components[1]!.kept.map(({ reason }) => reason)).toContain('is a lookup table');
    const error = relativeError(await hidden(), before);
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(0.02);
    await encoder.dispose();
  });
});

describe('the disk cache', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-quantize-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('gives the same layers again, reads them, and replaces files that are damaged', async () => {
    const options = { quantType: 'svdq_int4_r16_dq', diskCache: folder };
    await quantize(model, options);
    const first = await forward(model);
    const files = await readdir(folder);
    expect(files).toHaveLength(4); // the layers that do not fall back

    const again = async () => {
      const other = await flux();
      await quantize(other, options);
      const result = await forward(other);
      await other.dispose();
      return result;
    };
    expect(await again()).toEqual(first);

    const file = path.join(folder, files[0]!);
    const bytes = await readFile(file);
    await writeFile(
      file,
      bytes.map((byte, i) => (i < bytes.length - 8 ? byte : byte ^ 0x11)),
    );
    expect(await again()).not.toEqual(first);

    await writeFile(file, bytes.subarray(0, 100));
    expect(await again()).toEqual(first);
    expect(await readFile(file)).toEqual(bytes);
    // Another option is another key.
    const finer = await flux();
    await quantize(finer, { ...options, svdqKwargs: { svdRefineIters: 1 } });
    expect(await readdir(folder)).toHaveLength(8);
    await finer.dispose();
  });
});
