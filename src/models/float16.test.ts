/** Every family in float16, against recordings of Diffusers in float32, on a GPU that computes in it. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasWebGpu } from '../../tests/webgpu.ts';
import { readJsonFile } from '../files/json.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { floatTensor, sizeOf, Tensor } from '../tensor/tensor.ts';
import { inHeldDtypes } from '../weights/formats/held-dtype.ts';
import { openWeights } from '../weights/open-weights.ts';
import { memoryWeights } from '../weights/weight-source.ts';
import type { WeightStore } from '../weights/weight-store.ts';
import { AutoModel } from './auto-model.ts';
import { modulesIn } from './compute-dtype.ts';
import { ConfigReader } from './config-reader.ts';
import { fixtures, readGolden, relativeError } from './testing/golden.ts';
import { transformerFamilies } from './transformers/families.ts';

/** Largest max error / max value of a whole forward pass, where a family has another than all; stated in docs/gpu.md. */
const bound = 5e-3;
const bounds: Readonly<Record<string, number>> = {
  hidream: 1e-2,
  krea2: 1.5e-2,
  unet2d: 1.5e-2,
  unet_lcm: 1.5e-2,
  unet_sdxl: 1.5e-2,
};

/** Folders of `fixtures/models`. */
const recorded = [
  'allegro',
  'anima_text_conditioner',
  'auraflow',
  'bria',
  'briafibo',
  'chroma',
  'cogvideox',
  'cogview4',
  'cosmos',
  'cosmos_predict2',
  'dit',
  'ernieimage',
  'flux',
  'flux2',
  'flux3',
  'glmimage',
  'hidream',
  'hunyuandit',
  'hunyuanimage',
  'hunyuanvideo',
  'hunyuanvideo15',
  'ideogram4',
  'kandinsky5',
  'kandinsky6',
  'krea2',
  'longcatimage',
  'ltx',
  'ltx2',
  'lumina2',
  'minimax_h3',
  'mochi',
  'omnigen',
  'ovisimage',
  'pixart',
  'prx',
  'qwenimage',
  'qwenimage21',
  'sana',
  'sd3',
  'skyreelsv2',
  'stable_audio',
  'unet2d',
  'unet_lcm',
  'unet_sdxl',
  'wan',
  'zimage',
];

describe.runIf(hasWebGpu)('in float16', () => {
  let programs: ProgramCache;
  beforeAll(async () => {
    programs = new ProgramCache(await createBackend({ backend: 'webgpu' }));
  });
  afterAll(() => programs.backend.dispose());

  it.each(recorded)('%s is near Diffusers in float32', async (name) => {
    if (!programs.backend.capabilities.float16) return console.warn('NOT CHECKED: the GPU does not compute in float16');
    const folder = path.join(fixtures, 'models', name);
    await using model = await AutoModel.fromPretrained(folder, { programs, computeDtype: 'float16' });
    expect(model.weights.names.some((name) => model.weights.info(name)!.dtype === 'float16')).toBe(true);
    const golden = await readGolden(path.join('models', name));
    const { sample } = await model.forward(golden.inputs);
    const samples = Array.isArray(sample) ? sample : [sample];
    for (const [i, tensor] of samples.entries()) {
      const error = relativeError(tensor, golden.tensors[Array.isArray(sample) ? `output.${i}` : 'output']!);
      expect(error).toBeLessThan(bounds[name] ?? bound);
      // A model that was computed in float32 after all would be closer.
      expect(error).toBeGreaterThan(2e-5);
    }
  }, 300_000);

  it('names the block where numbers leave its range, and what to do', async () => {
    if (!programs.backend.capabilities.float16) return;
    const folder = path.join(fixtures, 'models', 'flux');
    await using model = await AutoModel.fromPretrained(folder, { programs, computeDtype: 'float16' });
    const store = model.weights as WeightStore;
    const name = 'transformer_blocks.1.ff.net.2.bias';
    const { shape } = model.weights.info(name)!;
    store.set(name, new Tensor('float16', new Uint16Array(sizeOf(shape)).fill(0x7c00), shape));
    const { inputs } = await readGolden('models/flux');
    await expect(model.forward(inputs)).rejects.toThrow(
      expect.objectContaining({
        path: 'FluxTransformer2DModel',
        message: expect.stringMatching(/range of float16 in transformer_blocks\.1; load with computeDtype: 'float32'/),
      }),
    );
  });

  it('is refused for weights beyond its range', async () => {
    const source = memoryWeights({ 'a.weight': floatTensor([1, 7e4]) });
    await expect(inHeldDtypes(source, () => 'float16', 'folder').read('a.weight')).rejects.toThrow(
      /folder: tensor 'a\.weight' holds 70000, which is beyond float16; load with computeDtype: 'float32'/,
    );
  });
});

/** Of variants that no recording is of. */
const unrecorded = ['BriaFiboTransformer2DModel: guidance_embed.**', 'PRXTransformer2DModel: resolution_embedder.**'];

describe('what stays float32', () => {
  it('are the modules that patterns name, one name for each star', () => {
    const isFloat32 = modulesIn(['blocks.*.attn', '*.*.gate', 'time.**', 'norm_out']);
    const float32 = ['', 'blocks.0.attn', 'blocks.12.gate', 'time', 'time.linear_1', 'time.mlp.0.gate', 'norm_out'];
    expect(float32.filter((name) => !isFloat32(name))).toEqual([]);
    const others = [
      'blocks.0.attn.to_q',
      'blocks.attn',
      'blocks.0.1.attn',
      'gate',
      'times',
      'norm_out.linear',
      'blocks',
    ];
    expect(others.filter(isFloat32)).toEqual([]);
  });

  it('is there in models of every family', async () => {
    const seen = new Map<string, { patterns: readonly string[]; modules: Set<string> }>();
    for (const name of await readdir(path.join(fixtures, 'models'))) {
      const folder = path.join(fixtures, 'models', name);
      if (!existsSync(path.join(folder, 'config.json'))) continue;
      const config = await readJsonFile(path.join(folder, 'config.json'));
      const className = String(config['_class_name']);
      const family = (await transformerFamilies[className]!()).configure(new ConfigReader(config, folder));
      const entry = seen.get(className) ?? { patterns: family.float32Modules, modules: new Set() };
      const weights = await openWeights(folder);
      for (const weight of weights.names) {
        const parts = weight.split('.');
        for (let length = 1; length < parts.length; length++) entry.modules.add(parts.slice(0, length).join('.'));
      }
      await weights.close();
      seen.set(className, entry);
    }
    // PixArt-α's and DiT's, under the name they had first.
    const others = Object.keys(transformerFamilies).filter((name) => !seen.has(name));
    expect(others).toEqual(['Transformer2DModel']);
    const missing = [...seen].flatMap(([className, { patterns, modules }]) =>
      patterns
        .filter((pattern) => ![...modules].some(modulesIn([pattern])))
        .map((pattern) => `${className}: ${pattern}`),
    );
    expect(missing).toEqual(unrecorded);
  });
});

it('is refused by name on a backend without it', async () => {
  const load = AutoModel.fromPretrained(path.join(fixtures, 'models/flux'), {
    backend: 'cpu',
    computeDtype: 'float16',
  });
  await expect(load).rejects.toThrow(/computeDtype: the backend 'cpu' does not compute in float16/);
});
