/** Checkpoints that are refused: damaged ones, and those in which another program has quantised the weights. */
import { cp, mkdtemp, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AutoModel } from '../models/auto-model.ts';
import { fixtures } from '../models/testing/golden.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import { convertCheckpoint } from './checkpoint/convert-checkpoint.ts';
import { saveQuantized } from './checkpoint/save-checkpoint.ts';

const original = path.join(fixtures, 'models/flux');
const weightsName = 'diffusion_pytorch_model.safetensors';

let folder: string;
let models: TransformerModel[];
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-refusals-'));
  models = [];
});
afterEach(async () => {
  await Promise.all(models.map((model) => model.dispose()));
  await rm(folder, { recursive: true });
});
const at = (...names: string[]) => path.join(folder, ...names);
const load = async (from: string) => {
  const model = await AutoModel.fromPretrained(from);
  models.push(model);
  return model;
};

describe('damaged checkpoints', () => {
  const config = async () => JSON.parse(await readFile(at('q', 'quant_config.json'), 'utf8'));
  const changed = async (change: (json: Awaited<ReturnType<typeof config>>) => void) => {
    const json = await config();
    change(json);
    await writeFile(at('q', 'quant_config.json'), JSON.stringify(json));
  };
  const weight = 'transformer_blocks.0.ff.net.2.weight';
  beforeEach(() => convertCheckpoint({ from: original, to: at('q') }, { quantType: 'int8_per_row' }));

  it.each<[string, (json: Awaited<ReturnType<typeof config>>) => void, RegExp]>([
    [
      'cache-dit',
      (json) => {
        json.format = 'cache_dit_svdq_quant_config';
      },
      /packed by cache-dit for its CUDA kernels; quantise/,
    ],
    [
      'another program',
      (json) => {
        json.format = 'gptq';
      },
      /the unknown layout "gptq"/,
    ],
    [
      'a later version',
      (json) => {
        json.version = 2;
      },
      /has version 2, only 1 can be read/,
    ],
    ['no weights', (json) => void delete json.weights, /lacks quant_type or weights/],
    [
      'an unknown format',
      (json) => {
        json.weights[weight].format.kind = 'int3';
      },
      /no format that is known here: \{"kind":"int3"/,
    ],
    [
      'a field too many',
      (json) => {
        json.weights[weight].format.zero = 1;
      },
      /no format that is known here/,
    ],
    [
      'a hostile shape',
      (json) => {
        json.weights[weight].shape = [1e300, 32];
      },
      /its shape must be \[out, in\]/,
    ],
    [
      'a wrong shape',
      (json) => {
        json.weights[weight].shape = [32, 64];
      },
      /codes" is int8 \[128,32\], its format needs int8 \[64,32\]/,
    ],
    [
      'a misfit',
      (json) => {
        json.weights[weight].format = { kind: 'float8', scales: 'tile', activations: 'tile' };
      },
      /not made of tiles/,
    ],
    [
      'a weight that is not there',
      (json) => {
        json.weights['x.weight'] = json.weights[weight];
      },
      /"x\.weight\.codes" is missing/,
    ],
  ])('%s', async (_, change, message) => {
    await changed(change);
    await expect(load(at('q'))).rejects.toThrow(message);
    await expect(load(at('q'))).rejects.toThrow(/quant_config\.json: /);
  });

  it('a shape that the model does not have', async () => {
    const json = JSON.parse(await readFile(at('q', 'config.json'), 'utf8'));
    await writeFile(
      at('q', 'config.json'),
      JSON.stringify({ ...json, joint_attention_dim: 24, num_attention_heads: 4 }),
    );
    await expect(load(at('q'))).rejects.toMatchObject({ code: 'SHAPE_MISMATCH' });
  });

  it('a file that ends too early, wherever', async () => {
    const file = at('q', weightsName);
    const { length } = await readFile(file);
    for (const left of [length - 1, length >> 1, 1000, 4, 0]) {
      await truncate(file, left);
      await expect(load(at('q')), `${left} bytes`).rejects.toMatchObject({ code: 'INVALID_FILE' });
    }
  });

  it('models that are not quantised, and folders that cannot be written', async () => {
    const model = await load(original);
    await expect(saveQuantized(model, at('x'), { quantType: 'int8' })).rejects.toThrow(/is not quantised/);
    await writeFile(at('file'), '');
    const quantized = await load(at('q'));
    await expect(saveQuantized(quantized, at('file'), { quantType: 'int8' })).rejects.toMatchObject({
      code: 'RUNTIME',
    });
  });
});

describe('weights of other programs', () => {
  beforeEach(() => cp(original, at('theirs'), { recursive: true }));

  it.each(['torchao', 'gptq', 'quanto'])('%s, as Diffusers saves it', async (method) => {
    const json = JSON.parse(await readFile(at('theirs', 'config.json'), 'utf8'));
    const foreign = { ...json, quantization_config: { quant_method: method, load_in_4bit: true } };
    await writeFile(at('theirs', 'config.json'), JSON.stringify(foreign));
    const message = new RegExp(`config\\.json: its weights are quantised by "${method}"; load the original model`);
    await expect(load(at('theirs'))).rejects.toThrow(message);
    const conversion = convertCheckpoint({ from: at('theirs'), to: at('ours') }, { quantType: 'int8' });
    await expect(conversion).rejects.toThrow(message);
    expect(await readdir(folder)).toEqual(['theirs']);
  });

  it("cache-dit's SVDQuant folders", async () => {
    await rename(at('theirs', weightsName), at('theirs', 'svdq_int4_r32.safetensors'));
    const config = { format: 'cache_dit_svdq_quant_config', version: 2, quant_type: 'svdq_int4_r32' };
    await writeFile(at('theirs', 'quant_config.json'), JSON.stringify(config));
    await expect(load(at('theirs'))).rejects.toThrow(
      /quant_config\.json: describes weights packed by cache-dit for its CUDA kernels; quantise the original model with/,
    );
  });

  it('GGUF', async () => {
    await rename(at('theirs', weightsName), at('theirs', 'flux-Q4_0.gguf'));
    await expect(load(at('theirs'))).rejects.toThrow(/has weights only as flux-Q4_0\.gguf; only safetensors are read/);
  });
});
