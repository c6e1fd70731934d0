/** Whole pictures of the bundled model on a GPU, beside the processor's. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasWebGpu } from '../../tests/webgpu.ts';
import { psnr } from '../metrics/pixel-errors.ts';
import type { ComputeDtype } from '../models/compute-dtype.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { bundledModel } from '../weights/bundled-model.ts';
import { DiffusionPipeline } from './diffusion-pipeline.ts';

describe.runIf(hasWebGpu)('on webgpu', () => {
  let cpu: ProgramCache;
  let gpu: ProgramCache;
  beforeAll(async () => {
    cpu = new ProgramCache(await createBackend({ backend: 'cpu' }));
    gpu = new ProgramCache(await createBackend({ backend: 'webgpu' }));
  });
  afterAll(() => Promise.all([cpu.backend.dispose(), gpu.backend.dispose()]));

  /** Five steps, some of them re-used. */
  const draw = async (programs: ProgramCache, computeDtype: ComputeDtype) => {
    await using pipe = await DiffusionPipeline.fromPretrained(bundledModel(), { programs, computeDtype });
    const actions: string[] = [];
    const { images } = await pipe.generate({
      prompt: 'red apple',
      seed: 7,
      numInferenceSteps: 5,
      cache: { cacheConfig: { residualDiffThreshold: 0.5, maxWarmupSteps: 2 } },
      onStep: ({ action }) => void actions.push(action),
    });
    return { image: images![0]!, actions };
  };

  it('draws the picture of the processor, and re-uses the same steps', async () => {
    const expected = await draw(cpu, 'float32');
    expect(new Set(expected.actions)).toEqual(new Set(['compute', 'reuse']));
    const actual = await draw(gpu, 'float32');
    expect(actual.actions).toEqual(expected.actions);
    expect(psnr(actual.image, expected.image)).toBeGreaterThan(60);
    if (!gpu.backend.capabilities.float16) return console.warn('NOT CHECKED: the GPU does not compute in float16');
    const half = await draw(gpu, 'float16');
    expect(half.actions).toEqual(expected.actions);
    expect(psnr(half.image, expected.image)).toBeGreaterThan(40);
    // Software Vulkan takes its time.
  }, 600_000);
});
