/** A FLUX of random codes in Nunchaku's layout computes what its numbers compute as an ordinary checkpoint, however it is loaded. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { inOneThread, largestError } from '../parallel/testing/ranks.ts';
import { Generator } from '../tensor/generator.ts';
import { floatTensor, sizeOf, Tensor } from '../tensor/tensor.ts';
import { withNunchakuLayers } from '../weights/nunchaku/nunchaku-weights.ts';
import { writeSafetensors } from '../weights/safetensors/write-safetensors.ts';
import { memoryWeights } from '../weights/weight-source.ts';
import { AutoModel } from './auto-model.ts';
import type { LoadOptions } from './load/load-options.ts';
import { relativeError } from './testing/golden.ts';

const config = {
  _class_name: 'FluxTransformer2DModel',
  patch_size: 1,
  in_channels: 16,
  num_layers: 1,
  num_single_layers: 2,
  attention_head_dim: 32,
  num_attention_heads: 4,
  joint_attention_dim: 48,
  pooled_projection_dim: 24,
  guidance_embeds: false,
  axes_dims_rope: [8, 12, 12],
};
const width = 128;
const rank = 16;
const random = new Generator(11);

function numbers(shape: number[], scale: number, around = 0): Tensor {
  const { f32 } = random.randn(shape);
  return floatTensor(
    f32.map((x) => around + scale * x),
    shape,
  );
}

/** Any bytes are codes. */
function codes(size: number): Uint8Array {
  return Uint8Array.from(random.randn([size]).f32, (x) => Math.round(1000 * x));
}

function svdq(name: string, out: number, inner: number): Record<string, Tensor> {
  const parts = {
    qweight: new Tensor('int8', new Int8Array(codes((out * inner) / 2).buffer), [out, inner / 2]),
    wscales: numbers([inner / 64, out], 0.002, 0.01),
    bias: numbers([out], 0.1),
    smooth: numbers([inner], 0.1, 1),
    smooth_orig: numbers([inner], 0.1, 1),
    lora_down: numbers([inner, rank], 0.1),
    lora_up: numbers([out, rank], 0.1),
  };
  return under(name, parts);
}

function modulation(name: string, splits: number): Record<string, Tensor> {
  const out = splits * width;
  const packed = codes((out * width) / 2);
  const parts = {
    qweight: new Tensor('int32', new Int32Array(packed.buffer), [out / 4, width / 2]),
    wscales: numbers([16, out], 0.001, 0.005),
    wzeros: numbers([16, out], 0.01, -0.04),
    bias: numbers([out], 0.1),
  };
  return under(name, parts);
}

function linear(name: string, out: number, inner: number): Record<string, Tensor> {
  return under(name, { weight: numbers([out, inner], inner ** -0.5), bias: numbers([out], 0.1) });
}

function under(name: string, parts: Record<string, Tensor>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(parts).map(([part, tensor]) => [`${name}.${part}`, tensor]));
}

function norms(block: string, names: string[]): Record<string, Tensor> {
  return Object.fromEntries(names.map((name) => [`${block}.${name}.weight`, numbers([32], 0.1, 1)]));
}

const packed: Record<string, Tensor> = {
  ...linear('x_embedder', width, 16),
  ...linear('context_embedder', width, 48),
  ...linear('time_text_embed.timestep_embedder.linear_1', width, 256),
  ...linear('time_text_embed.timestep_embedder.linear_2', width, width),
  ...linear('time_text_embed.text_embedder.linear_1', width, 24),
  ...linear('time_text_embed.text_embedder.linear_2', width, width),
  ...linear('norm_out.linear', 2 * width, width),
  ...linear('proj_out', 16, width),
  ...Object.assign(
    {},
    ...['', '_context'].map((end) => {
      const block = 'transformer_blocks.0';
      return {
        ...modulation(`${block}.norm1${end}.linear`, 6),
        ...svdq(`${block}.qkv_proj${end}`, 3 * width, width),
        ...svdq(`${block}.out_proj${end}`, width, width),
        ...svdq(`${block}.mlp${end}_fc1`, 4 * width, width),
        ...svdq(`${block}.mlp${end}_fc2`, width, 4 * width),
      };
    }),
  ),
  ...norms('transformer_blocks.0', ['norm_q', 'norm_k', 'norm_added_q', 'norm_added_k']),
  ...Object.assign(
    {},
    ...[0, 1].map((number) => {
      const block = `single_transformer_blocks.${number}`;
      return {
        ...modulation(`${block}.norm.linear`, 3),
        ...svdq(`${block}.qkv_proj`, 3 * width, width),
        ...svdq(`${block}.mlp_fc1`, 4 * width, width),
        ...svdq(`${block}.mlp_fc2`, width, 4 * width),
        ...svdq(`${block}.out_proj`, width, width),
        ...norms(block, ['norm_q', 'norm_k']),
      };
    }),
  ),
};

const inputs = {
  hidden_states: numbers([1, 6, 16], 1),
  encoder_hidden_states: numbers([1, 5, 48], 1),
  pooled_projections: numbers([1, 24], 1),
  timestep: floatTensor([0.7]),
  img_ids: numbers([6, 3], 1),
  txt_ids: floatTensor(new Float32Array(15), [5, 3]),
};

let folder: string;
let file: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-nunchaku-'));
  file = path.join(folder, 'svdq-int4_r16-flux.safetensors');
  await writeSafetensors(file, packed);
  const source = withNunchakuLayers(memoryWeights(packed));
  const plain: Record<string, Tensor> = {};
  await source.readMany(source.names, (name, tensor) => {
    plain[name] = tensor;
  });
  await writeFile(path.join(folder, 'config.json'), JSON.stringify(config));
  await writeSafetensors(path.join(folder, 'diffusion_pytorch_model.safetensors'), plain);
});
afterAll(() => rm(folder, { recursive: true }));

it('held, widened, offloaded and on ranks', async () => {
  await using plain = await AutoModel.fromPretrained(folder);
  const expected = (await plain.forward(inputs)).sample as Tensor;
  expect(expected.f32.every(Number.isFinite)).toBe(true);
  const sizes: number[] = [];
  for (const options of [{}, { weightDtype: 'float32' }, { layerwiseOffload: true }] satisfies LoadOptions[]) {
    await using model = await AutoModel.fromSingleFile(file, { config: folder, ...options });
    // 3e-7 is measured: the branch is computed beside the codes.
    expect(relativeError((await model.forward(inputs)).sample as Tensor, expected)).toBeLessThan(2e-5);
    sizes.push(model.weights.bytes);
  }
  // Low-rank branches and what is not quantised weigh much in so small a model.
  expect(sizes[0]).toBeLessThan(0.6 * sizes[1]!);
  await using model = await AutoModel.fromSingleFile(file, { config: folder, deferWeights: true });
  model.moveTo(inOneThread(model, { tensor: 2 }));
  expect(largestError(await model.forward(inputs), { sample: expected })).toBeLessThan(2e-5);
});

it('has as many numbers as an ordinary checkpoint', () => {
  const source = withNunchakuLayers(memoryWeights(packed));
  const count = source.names.reduce((sum, name) => sum + sizeOf(source.info(name).shape), 0);
  expect(count).toBeGreaterThan(4 * width * width * 12);
  expect(source.names.filter((name) => /qweight|smooth|lora|zeros/.test(name))).toEqual([]);
});
