/** Quantised checkpoints: saved, converted, and loaded without the original. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AutoModel, loadModel } from '../../models/auto-model.ts';
import type { GraphModel } from '../../models/graph-model.ts';
import { fixtures, readGolden } from '../../models/testing/golden.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { createBackend } from '../../runtime/create-backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { intTensor, type Tensor } from '../../tensor/tensor.ts';
import { scaledCheckpoint } from '../../weights/formats/testing/scaled-float8.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { writeSafetensors } from '../../weights/safetensors/write-safetensors.ts';
import type { WeightStore } from '../../weights/weight-store.ts';
import { quantize } from '../quantize.ts';
import { convertCheckpoint } from './convert-checkpoint.ts';

const original = path.join(fixtures, 'models/flux');
const inputs = (await readGolden('models/flux')).inputs;
const forward = async (model: TransformerModel) => ((await model.forward(inputs)).sample as Tensor).data;

let folder: string;
let models: { dispose(): Promise<void> }[];
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-checkpoint-'));
  models = [];
});
afterEach(async () => {
  await Promise.all(models.map((model) => model.dispose()));
  await rm(folder, { recursive: true });
});
const load = async (from: string) => {
  const model = await AutoModel.fromPretrained(from);
  models.push(model);
  return model;
};
const at = (...names: string[]) => path.join(folder, ...names);

it('converts a checkpoint of scaled float8 as the numbers it stands for, and refuses one that its config does not fit', async () => {
  const weightsName = 'diffusion_pytorch_model.safetensors';
  const layout = { suffix: 'scale_weight', per: 'tensor', marker: 'scaled_fp8' } as const;
  const both = scaledCheckpoint(await readSafetensors(path.join(original, weightsName)), layout);
  for (const [kind, tensors] of Object.entries(both)) {
    await mkdir(at(kind));
    await cp(path.join(original, 'config.json'), at(kind, 'config.json'));
    await writeSafetensors(at(kind, weightsName), tensors);
    const place = { from: at(kind), to: at(`${kind}-int8`) };
    await convertCheckpoint(place, { quantType: 'int8_per_row', diskCache: false });
  }
  expect(await forward(await load(at('scaled-int8')))).toEqual(await forward(await load(at('plain-int8'))));

  const config = JSON.parse(await readFile(at('plain', 'config.json'), 'utf8'));
  await writeFile(at('plain', 'config.json'), JSON.stringify({ ...config, num_single_layers: 1 }));
  const converting = convertCheckpoint({ from: at('plain'), to: at('other') }, { quantType: 'int8_per_row' });
  await expect(converting).rejects.toThrow("'single_transformer_blocks.1.");
  expect(await readdir(folder)).not.toContain('other');
});

describe('saved and converted checkpoints', () => {
  it.each([
    'int8_per_row',
    'int4_weight_only',
    'float8_per_row',
    'nvfp4',
    'svdq_int4_r16_dq',
  ])('%s: a saved model, loaded again, computes the same; converting gives the same files', async (quantType) => {
    const model = await load(original);
    await quantize(model, { quantType, serializeTo: at('saved'), diskCache: false });
    const expected = await forward(model);
    const loaded = await load(at('saved'));
    expect((loaded.weights as WeightStore).quantizedNames).toHaveLength(52);
    expect(loaded.weights.bytes).toBe(model.weights.bytes);
    expect(await forward(loaded)).toEqual(expected);

    await convertCheckpoint({ from: original, to: at('converted') }, { quantType, diskCache: false });
    expect(await forward(await load(at('converted')))).toEqual(expected);
    const [saved, converted] = await Promise.all(
      ['saved', 'converted'].map((name) => readSafetensors(at(name, 'diffusion_pytorch_model.safetensors'))),
    );
    expect(Object.keys(converted!).sort()).toEqual(Object.keys(saved!).sort());
    for (const [name, tensor] of Object.entries(saved!))
      expect(converted![name]!.float().data, name).toEqual(tensor.float().data);
  });

  it('text encoders keep the names of Transformers', async () => {
    const encoder = path.join(fixtures, 'text-encoders/t5_v1_1');
    const { components } = await convertCheckpoint({ from: encoder, to: at('t5') }, { quantType: 'int8_weight_only' });
    expect((await readdir(at('t5'))).sort()).toEqual(['config.json', 'model.safetensors', 'quant_config.json']);
    expect(components[0]!.bytes.after).toBeLessThan(components[0]!.bytes.before);
    const [before, after] = await Promise.all(
      [encoder, at('t5')].map(async (from) => {
        const model = (await loadModel(from)) as GraphModel;
        models.push(model);
        return Object.values(await model.forward({ input_ids: intTensor([5, 17, 42, 8, 1], [1, 5]) }))[0]!.data;
      }),
    );
    expect(Math.abs(Number(after![0]) / Number(before![0]) - 1)).toBeLessThan(0.1);
    expect(after).not.toEqual(before);
  });

  it('of a pipeline, quantises the transformer and copies the rest', async () => {
    await mkdir(at('pipe', 'scheduler'), { recursive: true });
    await cp(original, at('pipe', 'transformer'), { recursive: true });
    const index = {
      _class_name: 'FluxPipeline',
      transformer: ['diffusers', 'FluxTransformer2DModel'],
      scheduler: ['diffusers', 'FlowMatchEulerDiscreteScheduler'],
      text_encoder: [null, null],
    };
    await writeFile(at('pipe', 'model_index.json'), JSON.stringify(index));
    await writeFile(at('pipe', 'scheduler', 'scheduler_config.json'), '{"shift": 3}');
    const place = { from: at('pipe'), to: at('small') };
    const layers: string[] = [];
    const onProgress = ({ layer }: { layer: string }) => void layers.push(layer);
    const { components } = await convertCheckpoint(place, { quantType: 'int8_per_row' }, { onProgress });
    expect(components).toMatchObject([{ component: 'transformer', className: 'FluxTransformer2DModel' }]);
    expect(layers).toHaveLength(52);
    expect(await readFile(at('small', 'scheduler', 'scheduler_config.json'), 'utf8')).toBe('{"shift": 3}');
    expect(await forward(await load(at('small', 'transformer')))).not.toEqual(await forward(await load(original)));

    const wrong = { quantType: 'int8', componentsToQuantize: ['vae'] };
    await expect(convertCheckpoint(place, wrong)).rejects.toThrow(/small: is there already and not empty/);
    const elsewhere = { ...place, to: at('elsewhere') };
    await expect(convertCheckpoint(elsewhere, wrong)).rejects.toThrow(
      /vae: is no component; known: transformer, scheduler/,
    );
    await expect(convertCheckpoint(elsewhere, { quantType: 'svdq_int4_r16' })).rejects.toThrow(/takes a loaded model/);
    await expect(convertCheckpoint({ from: at('pipe'), to: at('pipe') }, {})).rejects.toThrow(
      /or inside it, which is read/,
    );
    const again = { from: at('small', 'transformer'), to: at('twice') };
    await expect(convertCheckpoint(again, { quantType: 'int8' })).rejects.toThrow(/is quantised already/);
    expect((await readdir(folder)).sort()).toEqual(['pipe', 'small']);
  });

  it.each(['int8_per_row', 'svdq_nvfp4_r16_dq'])('%s: the same files every time', async (quantType) => {
    const names = ['first', 'second'];
    for (const name of names)
      await convertCheckpoint({ from: original, to: at(name) }, { quantType, diskCache: false });
    for (const file of ['config.json', 'quant_config.json', 'diffusion_pytorch_model.safetensors']) {
      const [first, second] = await Promise.all(names.map((name) => readFile(at(name, file))));
      expect(first!.equals(second!), file).toBe(true);
    }
  });

  it('an abort leaves no checkpoint behind', async () => {
    const controller = new AbortController();
    const onProgress = ({ done }: { done: number }) => done === 5 && controller.abort();
    const place = { from: original, to: at('half') };
    const options = { signal: controller.signal, onProgress };
    await expect(convertCheckpoint(place, { quantType: 'int8' }, options)).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await readdir(folder)).toEqual([]);
  });

  it('saves from a backend in another thread as well', async () => {
    const programs = new ProgramCache(await createBackend({ worker: true }));
    const model = await AutoModel.fromPretrained(original, { programs });
    await quantize(model, { quantType: 'int8_per_row', serializeTo: at('saved') });
    const expected = await forward(model);
    expect(await forward(await load(at('saved')))).toEqual(expected);
    await model.dispose();
    await programs.backend.dispose();
  });
});
