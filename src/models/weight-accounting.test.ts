/** Every tensor of every checkpoint here: left out it is an error that names it, left over an error or a warning that does. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { setWarningHandler } from '../errors/warnings.ts';
import { floatTensor, type Tensor } from '../tensor/tensor.ts';
import { readSafetensors } from '../weights/safetensors/safetensors.ts';
import { writeSafetensors } from '../weights/safetensors/write-safetensors.ts';
import { derivedSource, type WeightSource } from '../weights/weight-source.ts';
import { AutoModel } from './auto-model.ts';
import { checkpointFolders, openCheckpoint } from './testing/checkpoints.ts';
import { fixtures } from './testing/golden.ts';
import { accountWeights, leftOver, usedWeights } from './weight-accounting.ts';

/** Tensors that are there and not read. */
const ignoredIn: Readonly<Record<string, readonly string[]>> = {
  'autoencoders/autoencoder_dc_pixelshuffle': [0, 1].map((i) => `decoder.up_blocks.${i}.1.norm.num_batches_tracked`),
  'text-encoders/llama_linear': ['lm_head.weight'],
  'text-encoders/qwen2_window': ['lm_head.weight'],
  'text-encoders/clip_vision': [
    'vision_model.post_layernorm.bias',
    'vision_model.post_layernorm.weight',
    'visual_projection.weight',
  ],
  'autoencoders/autoencoder_kl_flux2': ['bn.num_batches_tracked'],
  'autoencoders/autoencoder_kl_qwenimage21': [
    ...[0, 1, 2].map((i) => `decoder.up_blocks.${i}.upsampler`),
    ...[1, 2, 3].map((i) => `encoder.down_blocks.${i}.downsampler`),
  ].flatMap((layer) => [`${layer}.time_conv.bias`, `${layer}.time_conv.weight`]),
};

const options = { origin: 'checkpoint', weightDtype: 'float32' } as const;

const without = (source: WeightSource, left: string) =>
  derivedSource(source, {
    names: source.names.filter((name) => name !== left),
    has: (name) => name !== left && source.has(name),
  });

describe.each(checkpointFolders)('%s', (folder) => {
  it('is read to the last tensor, each of which is missed', async () => {
    const { config, configure, source } = await openCheckpoint(folder);
    const model = configure(config);
    const { names, warning } = accountWeights(model, source, options);
    expect(warning).toBeUndefined();
    expect(source.names.filter((name) => !names.includes(name))).toEqual(ignoredIn[folder] ?? []);
    for (const name of names) {
      const missing = `checkpoint: the checkpoint has no tensor '${name}'`;
      expect(() => usedWeights(model, without(source, name), options), name).toThrow(missing);
    }
  });

  it('names a tensor too many beside each of its own', async () => {
    const { config, configure, source } = await openCheckpoint(folder);
    const model = configure(config);
    const { used } = usedWeights(model, source, options);
    for (const name of used) {
      const extra = name.replace(/[^.]+$/, 'stranger');
      expect(said(model, { names: [...source.names, extra], used, origin: 'checkpoint' }), extra).toContain(
        `'${extra}'`,
      );
    }
  });
});

/** The warning or the error about what is left over. */
function said(...args: Parameters<typeof leftOver>): string | undefined {
  try {
    return leftOver(...args);
  } catch (error) {
    return (error as Error).message;
  }
}

describe('loading', () => {
  const flux = path.join(fixtures, 'models/flux');
  const weightsName = 'diffusion_pytorch_model.safetensors';
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-accounting-'));
    await cp(flux, folder, { recursive: true });
  });
  afterEach(() => rm(folder, { recursive: true }));
  const config = async (change: Record<string, unknown>) => {
    const json = JSON.parse(await readFile(path.join(folder, 'config.json'), 'utf8'));
    await writeFile(path.join(folder, 'config.json'), JSON.stringify({ ...json, ...change }));
  };
  const change = async (edit: (tensors: Record<string, Tensor>) => void) => {
    const tensors = await readSafetensors(path.join(folder, weightsName));
    edit(tensors);
    await writeSafetensors(path.join(folder, weightsName), tensors);
  };

  it.each([
    true,
    false,
  ])('refuses a config of fewer blocks than the file holds (offload %s)', async (layerwiseOffload) => {
    await config({ num_single_layers: 2 });
    await expect(AutoModel.fromPretrained(folder, { layerwiseOffload })).rejects.toThrow(
      /: \d+ of 140 tensors are in blocks of this FluxTransformer2DModel, but not as config.json describes them: 'single_transformer_blocks.2/,
    );
  });

  it('refuses a config of more blocks, and one of none', async () => {
    await config({ num_layers: 4000 });
    await expect(AutoModel.fromPretrained(folder)).rejects.toThrow("no tensor 'transformer_blocks.2.");
    await config({ num_layers: 0 });
    await expect(AutoModel.fromPretrained(folder)).rejects.toThrow("'transformer_blocks.0.");
  });

  it('misses a bias and a norm, offloaded or not', async () => {
    const names = ['single_transformer_blocks.1.attn.norm_q.weight', 'transformer_blocks.0.ff.net.2.bias'];
    for (const name of names) {
      await cp(flux, folder, { recursive: true });
      await change((tensors) => delete tensors[name]);
      for (const layerwiseOffload of [true, false]) {
        const loading = AutoModel.fromPretrained(folder, { layerwiseOffload });
        await expect(loading).rejects.toMatchObject({
          code: 'MISSING_WEIGHT',
          message: expect.stringContaining(`'${name}'`),
        });
      }
    }
  });

  it('warns of what is no part of the model, and does not load it', async () => {
    await change((tensors) => {
      for (let i = 0; i < 6; i++) tensors[`stranger_${i}.weight`] = floatTensor([1]);
    });
    const warnings: string[] = [];
    const previous = setWarningHandler((message) => warnings.push(message));
    const model = await AutoModel.fromPretrained(folder).finally(() => setWarningHandler(previous));
    expect(warnings).toEqual([
      `${folder}: 6 of 146 tensors are no part of a FluxTransformer2DModel and are not used: ` +
        "'stranger_0.weight', 'stranger_1.weight', 'stranger_2.weight', 'stranger_3.weight' and 2 more",
    ]);
    expect(model.weights.names).toHaveLength(140);
    await model.dispose();
  });
});
