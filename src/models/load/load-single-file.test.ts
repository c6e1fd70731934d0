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
