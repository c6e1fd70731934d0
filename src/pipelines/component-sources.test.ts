/** Pipelines from single files, and components from elsewhere: the same pictures as from the folder, or a refusal that names the part. */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AutoModel, loadModel } from '../models/auto-model.ts';
import { fixtures } from '../models/testing/golden.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { bundledModel } from '../weights/bundled-model.ts';
import { HubServer } from '../weights/hub/testing/hub-server.ts';
import { originalTensors } from '../weights/names/testing/original-tensors.ts';
import { openWeights } from '../weights/open-weights.ts';
import { writeSafetensors } from '../weights/safetensors/write-safetensors.ts';
import { DiffusionPipeline } from './diffusion-pipeline.ts';
import type { Pipeline } from './pipeline.ts';

const model = bundledModel();
let folder: string;
let transformer: string;
let whole: string;
let expected: Tensor;

async function originals(component: string): Promise<Record<string, Tensor>> {
  const place = path.join(model, component);
  const tensors: Record<string, Tensor> = {};
  const source = await openWeights(place);
  await source.readMany(
    source.names,
    (name, tensor) => {
      tensors[name] = tensor.float();
    },
    {},
  );
  await source.close();
  await using loaded = await loadModel(place);
  return originalTensors(tensors, loaded.definition.originalNames);
}

async function picture(pipe: Pipeline): Promise<Tensor> {
  const { latents } = await pipe.generate({ prompt: 'red apple', seed: 7, numInferenceSteps: 2, outputType: 'latent' });
  await pipe.dispose();
  return latents;
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-sources-'));
  transformer = path.join(folder, 'transformer.safetensors');
  whole = path.join(folder, 'whole.safetensors');
  const own = await originals('transformer');
  await writeSafetensors(transformer, own);
  const prefixed = (tensors: Record<string, Tensor>, prefix: string) =>
    Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [prefix + name, tensor]));
  await writeSafetensors(whole, {
    ...prefixed(own, 'model.diffusion_model.'),
    ...prefixed(await originals('vae'), 'vae.'),
    ...prefixed(await originals('text_encoder'), 'text_encoders.clip_l.transformer.'),
  });
  expected = await picture(await DiffusionPipeline.fromPretrained(model));
});
afterAll(() => rm(folder, { recursive: true }));

it('a transformer in a file of its own', async () => {
  const replaced = await DiffusionPipeline.fromPretrained(model, { transformer });
  expect((await picture(replaced)).data).toEqual(expected.data);
  const single = await DiffusionPipeline.fromSingleFile(transformer, { config: model });
  expect((await picture(single)).data).toEqual(expected.data);
});

it('a file that holds most of a pipeline, whose folder has no weights of these', async () => {
  const bare = path.join(folder, 'bare');
  const held = ['transformer', 'vae', 'text_encoder'];
  await cp(model, bare, {
    recursive: true,
    filter: (from) => !(held.includes(path.basename(path.dirname(from))) && from.endsWith('.safetensors')),
  });
  const pipe = await DiffusionPipeline.fromSingleFile(whole, { config: bare });
  expect((await picture(pipe)).data).toEqual(expected.data);
});

it('components from the folder of a model, and of another pipeline', async () => {
  const pipe = await DiffusionPipeline.fromPretrained(model, {
    transformer: path.join(model, 'transformer'),
    textEncoder: model,
  });
  expect((await picture(pipe)).data).toEqual(expected.data);
});

describe('from the hub', () => {
  it('fetches a file by its path, and of the pipeline no weights that come from elsewhere', async () => {
    const { readFile } = await import('node:fs/promises');
    const server = await HubServer.start('org/files', { 'some/transformer.safetensors': await readFile(transformer) });
    try {
      const options = { hubUrl: server.url, cacheFolder: path.join(folder, 'cache'), env: {} };
      const pipe = await DiffusionPipeline.fromPretrained(model, {
        transformer: 'org/files/some/transformer.safetensors',
        ...options,
      });
      expect((await picture(pipe)).data).toEqual(expected.data);
    } finally {
      await server.stop();
    }
  });
});

describe('refuses', () => {
  it('components that the pipeline has not, and files of others', async () => {
    await expect(DiffusionPipeline.fromPretrained(model, { textEncoder3: model })).rejects.toThrow(/text_encoder_3/);
    await expect(DiffusionPipeline.fromPretrained(model, { vae: transformer })).rejects.toThrow(
      /transformer\.safetensors.*no tensor/,
    );
    await expect(DiffusionPipeline.fromPretrained(model, { transformer: path.join(model, 'vae') })).rejects.toThrow(
      "component 'transformer': AutoencoderKL is not a transformer",
    );
    await expect(DiffusionPipeline.fromPretrained(model, { transformer: 'none.gguf' })).rejects.toThrow('none.gguf');
  });

  it('a single file without a config, or of a UNet', async () => {
    const none = {} as { config: string };
    await expect(DiffusionPipeline.fromSingleFile(transformer, none)).rejects.toThrow('config: is missing');
    const gguf = path.join(fixtures, 'single-file/gguf-flux/q8_0.gguf');
    await expect(DiffusionPipeline.fromSingleFile(gguf, { config: model })).rejects.toThrow(/q8_0\.gguf/);
    await expect(AutoModel.fromSingleFile(gguf)).rejects.toThrow('is FLUX.1, whose weights do not say all');
  });
});
