/** LoRAs against what Diffusers with PEFT returned, against the same sums in the weights themselves, and what is refused. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { setWarningHandler } from '../../errors/warnings.ts';
import { AutoModel } from '../../models/auto-model.ts';
import { fixtures, readGolden, relativeError } from '../../models/testing/golden.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { createBackend } from '../../runtime/create-backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { fromFloat32 } from '../../tensor/convert.ts';
import { dims, floatTensor, Tensor } from '../../tensor/tensor.ts';
import { readSafetensors, readSafetensorsHeader } from '../../weights/safetensors/safetensors.ts';
import { writeSafetensors } from '../../weights/safetensors/write-safetensors.ts';
import type { WeightStore } from '../../weights/weight-store.ts';
import { loadLora, unloadLora } from './lora.ts';

const flux = path.join(fixtures, 'models/flux');
const { inputs } = await readGolden('models/flux');
const lora = path.join(fixtures, 'lora');
const saved = path.join(lora, 'pipeline/pytorch_lora_weights.safetensors');
const recorded = await readSafetensors(path.join(lora, 'outputs.safetensors'));
const tensors = await readSafetensors(saved);
const second = await readSafetensors(path.join(lora, 'second.safetensors'));
/** In the order of the file. */
const layers = [...(await readSafetensorsHeader(saved)).tensors.keys()].flatMap((name) =>
  name.endsWith('.lora_A.weight') ? [name.slice(0, -'.lora_A.weight'.length)] : [],
);

const forward = async (model: TransformerModel) => (await model.forward(inputs)).sample as Tensor;
/** Layers add in another order than PyTorch: 5e-7 is measured. */
const close = 1e-5;

let model: TransformerModel;
let before: Tensor;
let folder: string;
beforeAll(async () => {
  model = await AutoModel.fromPretrained(flux);
  before = await forward(model);
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-lora-'));
});
afterEach(() => {
  if (model.weights.lora!.names.length > 0) unloadLora(model);
});
afterAll(async () => {
  await model.dispose();
  await rm(folder, { recursive: true });
});

describe('as Diffusers computes it', () => {
  it('saved by a pipeline: a folder, its file', async () => {
    for (const source of [path.join(lora, 'pipeline'), saved]) {
      await loadLora(model, source);
      expect(relativeError(await forward(model), recorded['output']!)).toBeLessThan(close);
    }
  });

  it('saved by a model, without the component in its names', async () => {
    await loadLora(model, path.join(lora, 'adapter'));
    expect(relativeError(await forward(model), recorded['output']!)).toBeLessThan(close);
  });

  it('at half its strength, replacing what was there', async () => {
    await loadLora(model, saved);
    await loadLora(model, saved, { strength: 0.5 });
    expect(relativeError(await forward(model), recorded['output.half']!)).toBeLessThan(close);
  });

  it('without any alpha, with an alpha for each layer', async () => {
    await loadLora(model, tensors);
    expect(relativeError(await forward(model), recorded['output.plain']!)).toBeLessThan(close);
    const alphas = layers.map((name, i) => [`${name}.alpha`, floatTensor([1 + (i % 3)], [])]);
    await loadLora(model, { ...tensors, ...Object.fromEntries(alphas) });
    expect(relativeError(await forward(model), recorded['output.alphas']!)).toBeLessThan(close);
  });

  it('two at once, of which one is taken out again', async () => {
    await loadLora(model, tensors);
    await loadLora(model, second, { name: 'second', strength: -0.7 });
    expect(relativeError(await forward(model), recorded['output.two']!)).toBeLessThan(close);
    unloadLora(model, 'second');
    expect(relativeError(await forward(model), recorded['output.plain']!)).toBeLessThan(close);
  });

  it("in PEFT's own folder, whose alpha is in adapter_config.json", async () => {
    const wrapped = Object.entries(tensors).map(([name, tensor]) => [
      name.replace('transformer', 'base_model.model'),
      tensor,
    ]);
    await writeSafetensors(path.join(folder, 'adapter_model.safetensors'), Object.fromEntries(wrapped));
    await expect(loadLora(model, folder)).rejects.toThrow('adapter_config.json');
    const { metadata } = await readSafetensorsHeader(path.join(lora, 'adapter/pytorch_lora_weights.safetensors'));
    await writeFile(path.join(folder, 'adapter_config.json'), metadata['lora_adapter_metadata']!);
    await loadLora(model, folder);
    expect(relativeError(await forward(model), recorded['output']!)).toBeLessThan(close);
  });

  it.each([
    { backend: 'wasm', worker: false },
    { backend: 'cpu', worker: true },
  ] as const)('on $backend, worker $worker', async (options) => {
    const programs = new ProgramCache(await createBackend(options));
    const other = await AutoModel.fromPretrained(flux, { programs });
    await loadLora(other, saved);
    expect(relativeError(await forward(other), recorded['output']!)).toBeLessThan(close);
    await other.dispose();
    await programs.dispose();
    await programs.backend.dispose();
  });

  it('under the older names, in bfloat16', async () => {
    const older = Object.entries(tensors).map(([name, { f32, shape }]) => [
      name.replace('lora_A', 'lora.down').replace('lora_B', 'lora.up'),
      new Tensor('bfloat16', fromFloat32('bfloat16', f32), shape),
    ]);
    await loadLora(model, Object.fromEntries(older));
    // bfloat16 has 8 bits: a relative error of 0.4 % in every matrix.
    const error = relativeError(await forward(model), recorded['output.plain']!);
    expect(error).toBeLessThan(0.02);
    expect(error).toBeGreaterThan(close);
  });
});

it("scales as the adapter's settings say: rank-stabilised, and by the layer's path", async () => {
  const file = path.join(folder, 'settings.safetensors');
  const outputs = async (source: Record<string, Tensor>, settings: object, same: [Record<string, Tensor>, number]) => {
    await writeSafetensors(file, source, { lora_adapter_metadata: JSON.stringify(settings) });
    await loadLora(model, file);
    const found = await forward(model);
    await loadLora(model, same[0], { strength: same[1] });
    return [found, await forward(model)] as const;
  };
  // All layers of `second` have rank 4.
  const [stabilised, tripled] = await outputs(second, { lora_alpha: 6, use_rslora: true }, [second, 3]);
  expect(relativeError(stabilised, tripled)).toBeLessThan(close);
  const own = { ...tensors, 'transformer.proj_out.alpha': floatTensor([8]) };
  const alpha_pattern = { 'net.2': 2, '^proj_out': 8 };
  const [byPath, byTensor] = await outputs(tensors, { lora_alpha: 4, alpha_pattern }, [own, 1]);
  expect(byPath.data).toEqual(byTensor.data);
});

it('adds up · down to the weights, and leaves them as they were', async () => {
  await loadLora(model, tensors, { strength: 0.7 });
  const beside = await forward(model);
  unloadLora(model);
  expect((await forward(model)).data).toEqual(before.data);

  const merged = await AutoModel.fromPretrained(flux);
  const store = merged.weights as WeightStore;
  for (const layer of layers) {
    const [down, up] = [tensors[`${layer}.lora_A.weight`]!, tensors[`${layer}.lora_B.weight`]!];
    const [rank, inner] = dims(down, 2);
    const name = `${layer.replace('transformer.', '')}.weight`;
    const weight = await store.backend.download(store.get(name));
    const sums = Array.from(weight.f32, (w, i) => {
      const [row, column] = [Math.floor(i / inner), i % inner];
      for (let r = 0; r < rank; r++)
        w += 0.7 * (up.data[row * rank + r] as number) * (down.data[r * inner + column] as number);
      return w;
    });
    store.set(name, floatTensor(sums, weight.shape));
  }
  expect(relativeError(beside, await forward(merged))).toBeLessThan(close);
  expect(relativeError(beside, before)).toBeGreaterThan(0.1);
  await merged.dispose();
});

it('goes to the expert that its tensors name; the other one is as before', async () => {
  const other = await AutoModel.fromPretrained(flux);
  const experts = { transformers: { transformer: model, transformer_2: other } };
  const forSecond = Object.entries(tensors).map(([name, tensor]) => [
    name.replace('transformer.', 'transformer_2.'),
    tensor,
  ]);
  await loadLora(experts, tensors);
  await loadLora(experts, Object.fromEntries(forSecond));
  expect((await forward(model)).data).toEqual(before.data);
  expect(relativeError(await forward(other), recorded['output.plain']!)).toBeLessThan(close);
  unloadLora(experts);
  expect((await forward(other)).data).toEqual(before.data);
  await other.dispose();
});

it('says which tensors are for text encoders', async () => {
  const messages: string[] = [];
  const restore = setWarningHandler((message) => messages.push(message));
  const text = { 'text_encoder.layers.0.q.lora_A.weight': floatTensor([1], [1, 1]) };
  await loadLora(model, { ...tensors, ...text });
  setWarningHandler(restore);
  expect(messages).toEqual(["LoRA: what is for text encoders is not used: 'text_encoder.layers.0.q.lora_A.weight'"]);
  await expect(loadLora(model, text)).rejects.toThrow('is for text encoders only');
});

describe('refuses', () => {
  const q = 'transformer_blocks.0.attn.to_q';
  const matrix = (rows: number, columns: number, value = 1) =>
    floatTensor(new Float32Array(rows * columns).fill(value), [rows, columns]);
  const pair = (module: string, down = matrix(2, 32), up = matrix(32, 2)) => ({
    [`${module}.lora_A.weight`]: down,
    [`${module}.lora_B.weight`]: up,
  });

  it.each<[string, Record<string, Tensor>, string]>([
    ['half a pair', { [`${q}.lora_A.weight`]: matrix(2, 32) }, `layer "${q}" has no 'lora_B or lora_up'`],
    ['the other half', { [`${q}.lora_B.weight`]: matrix(32, 2) }, `layer "${q}" has no 'lora_A or lora_down'`],
    ['an alpha alone', { [`${q}.alpha`]: floatTensor([1]) }, `layer "${q}" has no 'lora_A or lora_down'`],
    [
      'a matrix twice, under two names',
      { ...pair(q), [`transformer.${q}.lora_down.weight`]: matrix(2, 32) },
      `tensor "transformer.${q}.lora_down.weight" is a second 'down' of its layer`,
    ],
    ['an unknown layer', pair('transformer_blocks.0.attn.to_qq'), `(did you mean ${q}?)`],
    [
      'another width',
      pair(q, matrix(2, 31)),
      `${q}: the down matrix is [2,31], a layer of weight [32,32] needs [2,32]`,
    ],
    ['two ranks', pair(q, matrix(3, 32)), `${q}: the up matrix is [32,2], a layer of weight [32,32] needs [32,3]`],
    ['no rank', pair(q, matrix(0, 32)), 'without a rank'],
    ['NaN', pair(q, matrix(2, 32, Number.NaN)), `layer "${q}" has NaN or infinite values in 'lora_A or lora_down'`],
    [
      'an overflow',
      pair(q, undefined, matrix(32, 2, Infinity)),
      `layer "${q}" has NaN or infinite values in 'lora_B or lora_up'`,
    ],
    ['integers', pair(q, new Tensor('int8', new Int8Array(64), [2, 32])), 'is int8, not floating-point'],
    ['a norm', pair('transformer_blocks.0.attn.norm_q'), 'is no linear layer: its weight is [16]'],
    ['a tensor of no known kind', { [`${q}.lora_C.weight`]: matrix(1, 1) }, 'is no part of a LoRA, DoRA, LoKr or LoHa'],
    ['an expert that is not there', pair(`transformer_2.${q}`), 'is for transformer_2; this has transformer'],
    ['alpha NaN', { ...pair(q), [`${q}.alpha`]: floatTensor([Number.NaN]) }, 'has an alpha that is no number'],
    ['no tensors', {}, 'holds no tensors'],
  ])('%s', async (_, source, message) => {
    // The first layer of each is fine: nothing of it may be used either.
    const fine = Object.keys(source).length > 0 ? pair('transformer_blocks.1.attn.to_q') : {};
    await expect(loadLora(model, { ...fine, ...source })).rejects.toThrow(message);
    expect(model.weights.lora!.names).toEqual([]);
  });

  it('a file that lacks any one of its tensors, or has one more, by name', async () => {
    for (const [name, tensor] of Object.entries(tensors)) {
      const { [name]: _, ...others } = tensors;
      const layer = name.replace(/^transformer\./, '').replace(/\.lora_[AB]\.weight$/, '');
      await expect(loadLora(model, others), name).rejects.toThrow(`layer "${layer}" has no`);
      const more = { ...tensors, [name.replace('lora_', 'lora_embedding_')]: tensor };
      await expect(loadLora(model, more), name).rejects.toThrow("is of a LoRA on a lookup table's rows");
    }
    expect(model.weights.lora!.names).toEqual([]);
  });

  it('a lookup table, when it is read', async () => {
    const dit = await AutoModel.fromPretrained(path.join(fixtures, 'models/dit'));
    const table = 'transformer_blocks.0.norm1.emb.class_embedder.embedding_table';
    const [count, width] = dims(dit.weights.info(`${table}.weight`)!, 2);
    await loadLora(dit, pair(table, matrix(2, width), matrix(count, 2)));
    const { inputs } = await readGolden('models/dit');
    await expect(dit.forward(inputs)).rejects.toThrow(`'${table}.weight', which is a lookup table`);
    await dit.dispose();
  });

  it('settings that mean another product, or contradict', async () => {
    const file = path.join(folder, 'lora.safetensors');
    const load = async (settings: object | string, extra = {}) => {
      const json = typeof settings === 'string' ? settings : JSON.stringify(settings);
      await writeSafetensors(file, { ...pair(q), ...extra }, { lora_adapter_metadata: json });
      await loadLora(model, file);
    };
    await expect(load({ r: 2, lora_alpha: 2, use_dora: true })).rejects.toThrow('though use_dora is set');
    await expect(load({ peft_type: 'VERA', r: 2 })).rejects.toThrow('of the kind "VERA", which is not run');
    await expect(load({ lora_alpha: 'two' })).rejects.toThrow('adapter settings: lora_alpha');
    await expect(load({ lora_alpha: 2, alpha_pattern: { '(a+)+': 1 } })).rejects.toThrow('alpha_pattern');
    await expect(load('{')).rejects.toThrow('lora_adapter_metadata is not valid JSON');
    await expect(load({ lora_alpha: 2 }, { [`${q}.alpha`]: floatTensor([1]) })).rejects.toThrow(
      'has an alpha of its own',
    );
    expect(model.weights.lora!.names).toEqual([]);
  });

  it('what is not there, and wrong options', async () => {
    await expect(loadLora(model, path.join(folder, 'none.safetensors'))).rejects.toThrow('none.safetensors');
    await expect(loadLora(model, flux)).rejects.toThrow('has neither pytorch_lora_weights.safetensors nor');
    await expect(loadLora(model, tensors, { strength: Number.NaN })).rejects.toThrow('strength: NaN');
    await expect(loadLora(model, tensors, { name: '' })).rejects.toThrow('name: must be');
    expect(() => unloadLora(model)).toThrow('no LoRA is loaded');
    await loadLora(model, tensors);
    expect(() => unloadLora(model, 'other')).toThrow("no LoRA 'other' is loaded; there is default");
  });

  it('to be read after an abort', async () => {
    const signal = AbortSignal.abort();
    await expect(loadLora(model, saved, { signal })).rejects.toMatchObject({ code: 'ABORTED' });
  });
});
