/** Whole pictures on a GPU beside the processor's, and many requests. (What is recorded of other pipelines runs there too: `.ci/run`.) */
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasWebGpu } from '../../tests/webgpu.ts';
import { psnr } from '../metrics/pixel-errors.ts';
import type { ComputeDtype } from '../models/compute-dtype.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { bundledModel } from '../weights/bundled-model.ts';
import { DiffusionPipeline } from './diffusion-pipeline.ts';
import type { GenerateOptions } from './schema/options.ts';
import { assembleCheckpoint, readRecording } from './testing/recorded.ts';

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

  it('a hundred requests leave nothing behind: of one and two pictures, cached, aborted, at the same time', async () => {
    const before = { ...gpu.backend.live };
    const root = assembleCheckpoint(readRecording('dit').checkpoint);
    const pipe = await DiffusionPipeline.fromPretrained(root, { programs: gpu, computeDtype: 'float32' });
    const request = (i: number): Promise<unknown> => {
      const options: GenerateOptions = {
        classLabels: i % 3 === 0 ? [1, 2] : 1,
        seed: i,
        numInferenceSteps: 3,
        ...(i % 4 === 1 ? { cache: { cacheConfig: { residualDiffThreshold: 10, maxWarmupSteps: 1 } } } : {}),
      };
      if (i % 4 !== 3) return pipe.generate(options);
      const controller = new AbortController();
      const aborted = pipe.generate({ ...options, signal: controller.signal, onStep: () => controller.abort() });
      return expect(aborted).rejects.toThrow(expect.objectContaining({ code: 'ABORTED' }));
    };
    const round = async (from: number, to: number) => {
      for (let i = from; i < to; i += 2) await Promise.all([request(i), request(i + 1)]);
      return { ...gpu.backend.live };
    };
    // All kinds have been seen by then.
    const warm = await round(0, 12);
    expect(await round(12, 100)).toEqual(warm);
    await pipe.dispose();
    rmSync(root, { recursive: true });
    expect(gpu.backend.live.tensors).toBe(before.tensors);
    expect(gpu.backend.live.bytes).toBe(before.bytes);
  }, 600_000);
});
