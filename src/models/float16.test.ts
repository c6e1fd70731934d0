/** Every family in float16, against recordings of Diffusers in float32, on a GPU that computes in it. */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasWebGpu } from '../../tests/webgpu.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { floatTensor, sizeOf, Tensor } from '../tensor/tensor.ts';
import { inHeldDtypes } from '../weights/formats/held-dtype.ts';
import { memoryWeights } from '../weights/weight-source.ts';
import type { WeightStore } from '../weights/weight-store.ts';
import { AutoModel } from './auto-model.ts';
import { fixtures, readGolden, relativeError } from './testing/golden.ts';

/** Largest max error / max value of a whole forward pass, where a family has another than all; stated in docs/gpu.md. */
const bound = 5e-3;
const bounds: Readonly<Record<string, number>> = { hidream: 1e-2, unet2d: 1e-2 };

const families = [
  'allegro',
  'auraflow',
  'bria',
  'chroma',
  'cogvideox',
  'cogview4',
  'cosmos',
  'dit',
  'flux',
  'flux2',
  'hidream',
  'hunyuandit',
  'hunyuanimage',
  'hunyuanvideo',
  'kandinsky5',
  'ltx',
  'lumina2',
  'mochi',
  'ovisimage',
  'pixart',
  'prx',
  'qwenimage',
  'sana',
  'sd3',
  'skyreelsv2',
  'unet2d',
  'wan',
  'zimage',
];

describe.runIf(hasWebGpu)('in float16', () => {
  let programs: ProgramCache;
  beforeAll(async () => {
    programs = new ProgramCache(await createBackend({ backend: 'webgpu' }));
  });
  afterAll(() => programs.backend.dispose());

  it.each(families)('%s is near Diffusers in float32', async (family) => {
    if (!programs.backend.capabilities.float16) return console.warn('NOT CHECKED: the GPU does not compute in float16');
    const folder = path.join(fixtures, 'models', family);
    await using model = await AutoModel.fromPretrained(folder, { programs, computeDtype: 'float16' });
    expect(model.weights.names.some((name) => model.weights.info(name)!.dtype === 'float16')).toBe(true);
    const golden = await readGolden(path.join('models', family));
    const { sample } = await model.forward(golden.inputs);
    const samples = Array.isArray(sample) ? sample : [sample];
    for (const [i, tensor] of samples.entries()) {
      const error = relativeError(tensor, golden.tensors[Array.isArray(sample) ? `output.${i}` : 'output']!);
      expect(error).toBeLessThan(bounds[family] ?? bound);
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

it('is refused by name on a backend without it', async () => {
  const load = AutoModel.fromPretrained(path.join(fixtures, 'models/flux'), {
    backend: 'cpu',
    computeDtype: 'float16',
  });
  await expect(load).rejects.toThrow(/computeDtype: the backend 'cpu' does not compute in float16/);
});
