/** Quantised checkpoints: saved, converted, loaded without the original, and refused where they are not ours or damaged. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AutoModel, loadModel } from '../models/auto-model.ts';
import type { GraphModel } from '../models/graph-model.ts';
import { fixtures, readGolden } from '../models/testing/golden.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { intTensor, type Tensor } from '../tensor/tensor.ts';
import { readSafetensors } from '../weights/safetensors.ts';
import type { WeightStore } from '../weights/weight-store.ts';
import { convertCheckpoint } from './convert-checkpoint.ts';
import { quantize } from './quantize.ts';
import { saveQuantized } from './save-checkpoint.ts';

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
      /vae: is no component; there are transformer, scheduler/,
    );
    await expect(convertCheckpoint(elsewhere, { quantType: 'svdq_int4_r16' })).rejects.toThrow(/takes a loaded model/);
    await expect(convertCheckpoint({ from: at('pipe'), to: at('pipe') }, {})).rejects.toThrow(
      /is the folder that is read/,
    );
    const again = { from: at('small', 'transformer'), to: at('twice') };
    await expect(convertCheckpoint(again, { quantType: 'int8' })).rejects.toThrow(/is quantised already/);
    expect((await readdir(folder)).sort()).toEqual(['pipe', 'small']);
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

describe('refusals', () => {
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
    await expect(forward(await load(at('q')))).rejects.toMatchObject({ code: 'SHAPE_MISMATCH' });
  });

  it('weights that bitsandbytes has quantised', async () => {
    const json = JSON.parse(await readFile(at('q', 'config.json'), 'utf8'));
    const foreign = { ...json, quantization_config: { quant_method: 'bitsandbytes', load_in_4bit: true } };
    await writeFile(at('q', 'config.json'), JSON.stringify(foreign));
    await expect(load(at('q'))).rejects.toThrow(/config\.json: its weights are quantised by "bitsandbytes"/);
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
