/** Models out of files of other programs, against recorded outputs; what is no such file is refused by what it is. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floatTensor, Tensor } from '../../tensor/tensor.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { writeSafetensors } from '../../weights/safetensors/write-safetensors.ts';
import { AutoModel } from '../auto-model.ts';
import { fixtures, readGolden, relativeError } from '../testing/golden.ts';
import type { LoadOptions } from './load-options.ts';

const flux = path.join(fixtures, 'models/flux');
const files = path.join(fixtures, 'single-file/flux');
const { inputs } = await readGolden('models/flux');
const outputs = await readSafetensors(path.join(files, 'io.safetensors'));
/** Layers add in another order than PyTorch: 7e-7 is measured. */
const close = 1e-5;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-single-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function outputOf(file: string, options: LoadOptions = {}): Promise<Tensor> {
  await using model = await AutoModel.fromSingleFile(file, { config: flux, ...options });
  return (await model.forward(inputs)).sample as Tensor;
}

describe.each([
  'bfl_prefixed_bf16',
  'bfl_fp8_e4m3fn_all',
  'scaled_fp8_prefixed_input',
  'comfy_quant_fp8',
])('%s', (name) => {
  it('is what it stands for', async () => {
    const output = await outputOf(path.join(files, `${name}.safetensors`));
    expect(relativeError(output, outputs[`${name}.output`]!)).toBeLessThan(close);
  });
});

it('reads block by block what is cut out of fused weights', async () => {
  const file = path.join(files, 'bfl_prefixed_bf16.safetensors');
  const whole = await outputOf(file, { weightDtype: 'stored' });
  expect((await outputOf(file, { layerwiseOffload: true })).data).toEqual(whole.data);
});

describe.each([
  ['gguf-flux', 'q8_0'],
  ['gguf-flux-64', 'mixed'],
  ['gguf-flux-64', 'q2_iq4'],
])('GGUF of %s: %s', (place, name) => {
  const config = path.join(fixtures, 'single-file', place);

  it('computes what it stands for, held, widened and offloaded', async () => {
    const recorded = await readSafetensors(path.join(config, 'io.safetensors'));
    const own = Object.fromEntries(Object.entries(recorded).filter(([key]) => !key.includes('.')));
    const run = async (options: LoadOptions) => {
      await using model = await AutoModel.fromSingleFile(path.join(config, `${name}.gguf`), { config, ...options });
      const output = (await model.forward(own)).sample as Tensor;
      expect(relativeError(output, recorded[`${name}.output`]!)).toBeLessThan(close);
      return model.weights.bytes;
    };
    const [held, widened] = [await run({}), await run({ weightDtype: 'float32' })];
    await run({ layerwiseOffload: true });
    // The smallest blocks are small beside what goes with them.
    expect(held).toBeLessThan(widened / 3);
  });
});

it('holds float8 as it is stored, where that is asked for', async () => {
  const sizes: number[] = [];
  for (const name of ['bfl_fp8_e4m3fn_all', 'scaled_fp8_prefixed_input']) {
    const file = path.join(files, `${name}.safetensors`);
    const run = async (options: LoadOptions) => {
      await using model = await AutoModel.fromSingleFile(file, { config: flux, ...options });
      const output = (await model.forward(inputs)).sample as Tensor;
      expect(relativeError(output, outputs[`${name}.output`]!)).toBeLessThan(close);
      sizes.push(model.weights.bytes);
    };
    await run({});
    await run({ weightDtype: 'stored' });
    await run({ layerwiseOffload: true });
  }
  expect(sizes[1]).toBeLessThan(sizes[0]! / 3);
  expect(sizes[4]).toBeLessThan(sizes[3]! / 3);
});

describe('refuses', () => {
  const original = async () => {
    const tensors = await readSafetensors(path.join(files, 'bfl_prefixed_bf16.safetensors'));
    return Object.fromEntries(
      Object.entries(tensors).map(([name, tensor]) => [name.replace('model.diffusion_model.', ''), tensor]),
    );
  };
  const load = async (tensors: Record<string, Tensor>, options: { config?: string } = { config: flux }) => {
    const file = path.join(folder, 'model.safetensors');
    await writeSafetensors(file, tensors);
    await (await AutoModel.fromSingleFile(file, options)).dispose();
  };

  it('a file that lacks any part of a fused weight', async () => {
    const { 'double_blocks.1.txt_attn.qkv.bias': _, ...others } = await original();
    await expect(load(others)).rejects.toThrow("no tensor 'transformer_blocks.1.attn.add_q_proj.bias'");
  });

  it('a fused weight that cannot be cut, and one that is there twice', async () => {
    const tensors = await original();
    const name = 'double_blocks.0.img_attn.qkv.weight';
    await expect(load({ ...tensors, [name]: floatTensor(new Float32Array(95 * 32), [95, 32]) })).rejects.toThrow(
      `tensor "${name}": [95,32] cannot be cut into transformer_blocks.#.attn.to_q`,
    );
    const twice = { 'transformer_blocks.0.attn.to_q.weight': floatTensor(new Float32Array(1024), [32, 32]) };
    await expect(load({ ...tensors, ...twice })).rejects.toThrow('are both "transformer_blocks.0.attn.to_q.weight"');
  });

  it('files of other models', async () => {
    await expect(load({ 'vae.decoder.conv_in.weight': floatTensor([1]) })).rejects.toThrow(
      'has no transformer, only vae.',
    );
  });

  it.each([
    ['LoRAs', 'lora_unet_double_blocks_0_img_mlp_0.lora_down.weight', 'is a LoRA, which is not run as a model'],
  ])('%s, by what they are', async (_, name, message) => {
    await expect(load({ [name]: floatTensor([1]) })).rejects.toThrow(message);
    const packed = { 'a.qweight': floatTensor([1]), 'a.wscales': floatTensor([1]) };
    await expect(load(packed)).rejects.toThrow('packed by Nunchaku');
  });

  it("a layer in a format of ComfyUI's that is not read", async () => {
    const tensors = await readSafetensors(path.join(files, 'comfy_quant_fp8.safetensors'));
    const json = new TextEncoder().encode('{"format": "nvfp4"}');
    const layer = 'double_blocks.0.img_attn.qkv.comfy_quant';
    await expect(load({ ...tensors, [layer]: new Tensor('uint8', json, [json.length]) })).rejects.toThrow(
      'says that its layer is in the format "nvfp4", which is not read',
    );
  });

  it('a config that is a file, or none where one is needed', async () => {
    const tensors = await original();
    await expect(load(tensors, { config: path.join(flux, 'config.json') })).rejects.toThrow(
      'is a file; config is the folder',
    );
  });
});
