/** What every pipeline does alike, whatever it draws. */
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { relativeError } from '../../models/testing/golden.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import type { Pipeline } from '../pipeline.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { assembleCheckpoint, readRecording, rowOf } from '../testing/recorded.ts';

const prompt = { prompt: 'a photo of a cat' };
const size = { height: 32, width: 32 };
/** The least that each pipeline can be asked for. */
const cases: [name: string, options: GenerateOptions][] = [
  ['dit', { classLabels: 1 }],
  ['sd3', { ...prompt, ...size }],
  ['pixart_sigma', { ...prompt, ...size, useResolutionBinning: false }],
  ['qwenimage', { ...prompt, ...size }],
  ['zimage', { ...prompt, ...size }],
  ['wan', { ...prompt, ...size, numFrames: 5 }],
];

describe.each(cases)('%s', (name, least) => {
  let root: string;
  let pipe: Pipeline;
  const options = { ...least, numInferenceSteps: 3, seed: 5 };
  beforeAll(async () => {
    root = assembleCheckpoint(readRecording(name).checkpoint);
    writeFileSync(path.join(root, 'generation_config.json'), '{ "num_inference_steps": 1 }');
    pipe = await DiffusionPipeline.fromPretrained(root);
  });
  afterAll(async () => {
    await pipe.dispose();
    rmSync(root, { recursive: true });
  });

  it('stops between two steps when aborted', async () => {
    const controller = new AbortController();
    let steps = 0;
    const onStep = () => {
      steps++;
      controller.abort();
    };
    await expect(pipe.generate({ ...options, signal: controller.signal, onStep })).rejects.toMatchObject({
      code: 'ABORTED',
    });
    expect(steps).toBe(1);
  });

  it('draws from a seed per picture, or from given noise', async () => {
    const two = await pipe.generate({ ...options, numImages: 2, seed: [4, 5], outputType: 'latent' });
    const one = await pipe.generate({ ...options, outputType: 'latent' });
    expect([one.images, one.videos, one.seed]).toEqual([[], [], 5]);
    expect(relativeError(rowOf(two.latents, 1), rowOf(one.latents, 0))).toBeLessThan(1e-4);
    const zeros = floatTensor(new Float32Array(one.latents.size), one.latents.shape);
    const given = await pipe.generate({ ...options, latents: zeros, outputType: 'latent' });
    expect(relativeError(given.latents, one.latents)).toBeGreaterThan(0.01);
    await expect(pipe.generate({ ...options, latents: floatTensor([1]) })).rejects.toThrow(/latents: shape \[1\]/);
  });

  it('previews, counts and times its steps', async () => {
    const seen: number[] = [];
    const { images, videos, timings } = await pipe.generate({
      ...options,
      numInferenceSteps: undefined,
      onStep: async ({ step, steps, action, branches, preview }) => {
        expect([steps, action, branches]).toEqual([1, 'compute', {}]);
        expect(await preview()).toHaveLength(1);
        seen.push(step);
      },
    });
    expect(seen).toEqual([1]);
    expect(timings.steps).toHaveLength(1);
    expect([images.length, videos.length]).toEqual(pipe.traits.output === 'videos' ? [0, 1] : [1, 0]);
  });

  it('runs a schedule of the request, or says that it cannot', async () => {
    const request = pipe.generate({ ...options, sigmas: [1, 0.5], outputType: 'latent' });
    if (['sd3', 'qwenimage', 'zimage'].includes(name)) expect((await request).timings.steps).toHaveLength(2);
    else await expect(request).rejects.toThrow(/sigmas/);
  });

  it('refuses what it does not know', async () => {
    await expect(pipe.generate({ ...options, guidanceScal: 2 } as GenerateOptions)).rejects.toThrow(
      /guidanceScal: unknown option of \w+Pipeline; did you mean guidanceScale\?/,
    );
    await expect(pipe.generate({ ...options, frameRate: 5 })).rejects.toThrow(/frameRate: unknown option/);
    await expect(pipe.generate({ ...options, numInferenceSteps: 0 })).rejects.toThrow(/numInferenceSteps: expected/);
    await expect(pipe.generate({ ...options, [pipe.traits.guidance]: Number.NaN })).rejects.toThrow(
      /expected a number/,
    );
    await expect(pipe.generate({ ...options, outputType: 'png' as 'image' })).rejects.toThrow(/outputType: expected/);
  });
});
