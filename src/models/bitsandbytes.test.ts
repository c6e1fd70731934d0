/** Models whose weights bitsandbytes has packed compute what these stand for: loaded whole, offloaded, under LoRAs, and quantised anew. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadLora } from '../pipelines/lora/lora.ts';
import { convertCheckpoint } from '../quantize/checkpoint/convert-checkpoint.ts';
import { floatTensor, type Tensor } from '../tensor/tensor.ts';
import { readSafetensors } from '../weights/safetensors/safetensors.ts';
import { writeSafetensors } from '../weights/safetensors/write-safetensors.ts';
import { tensorShapes } from '../weights/single-file/open-single-file.ts';
import { AutoModel } from './auto-model.ts';
import type { LoadOptions } from './load/load-options.ts';
import { fixtures, relativeError } from './testing/golden.ts';
import type { TransformerModel } from './transformer-model.ts';

const files = path.join(fixtures, 'single-file/bitsandbytes');
const diffusers = path.join(files, 'diffusers');
const recorded = await readSafetensors(path.join(files, 'io.safetensors'));
const inputs = Object.fromEntries(Object.entries(recorded).filter(([name]) => !name.includes('.')));

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-bitsandbytes-'));
});
afterAll(() => rm(folder, { recursive: true }));

const sample = async (model: TransformerModel) => (await model.forward(inputs)).sample as Tensor;

describe.each<[string, (options: LoadOptions) => Promise<TransformerModel>]>([
  ['diffusers', (options) => AutoModel.fromPretrained(diffusers, options)],
  [
    'bfl_nf4',
    (options) => AutoModel.fromSingleFile(path.join(files, 'bfl_nf4.safetensors'), { config: files, ...options }),
  ],
])('%s', (name, load) => {
  it('computes what it stands for: held, widened and offloaded', async () => {
    const sizes: number[] = [];
    for (const options of [{}, { weightDtype: 'float32' }, { layerwiseOffload: true }] as const) {
      await using model = await load(options);
      // 4e-7 is measured.
      expect(relativeError(await sample(model), recorded[`${name}.output`]!)).toBeLessThan(1e-5);
      sizes.push(model.weights.bytes);
    }
    // What is not quantised weighs much in so small a model.
    expect(sizes[0]).toBeLessThan(sizes[1]! / 4);
  });

  it('takes LoRAs', async () => {
    const file = path.join(folder, `${name}-lora.safetensors`);
    const matrix = (rows: number, columns: number) =>
      floatTensor(
        Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i) / 8),
        [rows, columns],
      );
    const layer = 'transformer.single_transformer_blocks.0.proj_mlp';
    await writeSafetensors(file, {
      [`${layer}.lora_A.weight`]: matrix(4, 64),
      [`${layer}.lora_B.weight`]: matrix(256, 4),
    });
    const outputs: Tensor[] = [];
    for (const weightDtype of [undefined, 'float32'] as const) {
      await using model = await load({ ...(weightDtype ? { weightDtype } : {}) });
      const plain = await sample(model);
      await loadLora(model, file, { strength: 0.7 });
      outputs.push(await sample(model));
      expect(relativeError(outputs.at(-1)!, plain)).toBeGreaterThan(0.01);
    }
    expect(relativeError(outputs[0]!, outputs[1]!)).toBeLessThan(1e-5);
  });
});

it('says the shapes of what is packed, without which a model cannot be told', async () => {
  const shapes = await tensorShapes(path.join(files, 'bfl_nf4.safetensors'), 'transformer');
  expect(shapes.get('double_blocks.0.img_attn.qkv.weight')).toEqual([192, 64]);
  expect([...shapes.keys()].filter((name) => /absmax|quant/.test(name))).toEqual([]);
});

it('is converted to a format of ours, of which its config says nothing any more', async () => {
  const to = path.join(folder, 'int8');
  await convertCheckpoint({ from: diffusers, to }, { quantType: 'int8_weight_only' });
  expect(JSON.parse(await readFile(path.join(to, 'config.json'), 'utf8'))).not.toHaveProperty('quantization_config');
  await using model = await AutoModel.fromPretrained(to);
  expect(relativeError(await sample(model), recorded['diffusers.output']!)).toBeLessThan(0.02);
});
