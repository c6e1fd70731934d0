/** Models of float8 beside scales compute what the numbers that these stand for compute, however they are loaded. */
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ScaleLayout, scaledCheckpoint } from '../weights/formats/testing/scaled-float8.ts';
import { readSafetensors } from '../weights/safetensors/safetensors.ts';
import { writeSafetensors } from '../weights/safetensors/write-safetensors.ts';
import { AutoModel } from './auto-model.ts';
import { Autoencoder } from './autoencoders/autoencoder.ts';
import type { LoadOptions } from './load/load-options.ts';
import { fixtures, readGolden } from './testing/golden.ts';
import { loadEncoder } from './text-encoders/testing/parity.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-scaled-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Writes a fixture's checkpoint both ways: `<to>/scaled` and `<to>/plain`. */
async function write(
  from: string,
  weightsName: string,
  layout: ScaleLayout,
): Promise<{ scaled: string; plain: string }> {
  const base = await mkdtemp(path.join(folder, 'checkpoint-'));
  const both = scaledCheckpoint(await readSafetensors(path.join(fixtures, from, weightsName)), layout);
  for (const [kind, tensors] of Object.entries(both)) {
    await mkdir(path.join(base, kind));
    await copyFile(path.join(fixtures, from, 'config.json'), path.join(base, kind, 'config.json'));
    await writeSafetensors(path.join(base, kind, weightsName), tensors);
  }
  return { scaled: path.join(base, 'scaled'), plain: path.join(base, 'plain') };
}

describe('a transformer', () => {
  it.each<[ScaleLayout, LoadOptions]>([
    [{ suffix: 'scale_weight', per: 'tensor', marker: 'scaled_fp8' }, {}],
    [{ suffix: 'weight_scale', per: 'row' }, { weightDtype: 'stored' }],
    [{ suffix: 'weight_scale', per: 'tensor' }, { layerwiseOffload: true }],
  ])('%j, loaded with %j', async (layout, options) => {
    const { inputs } = await readGolden('models/flux');
    const { scaled, plain } = await write('models/flux', 'diffusion_pytorch_model.safetensors', layout);
    const results = [];
    for (const [from, how] of [
      [plain, {}],
      [scaled, options],
    ] as const) {
      const model = await AutoModel.fromPretrained(from, how);
      results.push((await model.forward(inputs)).sample);
      await model.dispose();
    }
    expect(results[1]).toEqual(results[0]);
  });
});

it.each<LoadOptions>([
  {},
  { weightDtype: 'stored' },
  { layerwiseOffload: true },
])('a text encoder, loaded with %j', async (options) => {
  const layout: ScaleLayout = { suffix: 'scale_weight', per: 'tensor', marker: 'scaled_fp8' };
  const { scaled, plain } = await write('text-encoders/umt5', 'model.safetensors', layout);
  const { input_ids } = await readSafetensors(path.join(fixtures, 'text-encoders/umt5/io.safetensors'));
  const results = [];
  for (const [from, how] of [
    [plain, {}],
    [scaled, options],
  ] as const) {
    const model = await loadEncoder(from, how);
    results.push(await model.forward({ input_ids }));
    await model.dispose();
  }
  expect(results[1]).toEqual(results[0]);
});

it.each<ScaleLayout>([
  { suffix: 'scale_weight', per: 'tensor', marker: 'scaled_fp8' },
  { suffix: 'weight_scale', per: 'row' },
])('an autoencoder, its kernels too: %j', async (layout) => {
  const from = 'autoencoders/autoencoder_kl';
  const { scaled, plain } = await write(from, 'diffusion_pytorch_model.safetensors', layout);
  const recording = await readSafetensors(path.join(fixtures, from, 'io.safetensors'));
  const results = [];
  for (const checkpoint of [plain, scaled]) {
    const autoencoder = await Autoencoder.fromPretrained(checkpoint);
    results.push(
      await autoencoder.decode(recording['decode.latents']!),
      await autoencoder.encode(recording['encode.image']!),
    );
    await autoencoder.dispose();
  }
  expect(results.slice(2)).toEqual(results.slice(0, 2));
});
