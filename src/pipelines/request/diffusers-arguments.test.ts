/** What users of Diffusers pass: generators, callbacks, guidance in a part of the steps, arguments at neutral values. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { relativeError } from '../../models/testing/golden.ts';
import { Generator } from '../../tensor/generator.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { type OpenedPipeline, openPipeline } from '../testing/every-pipeline.ts';

const request = { prompt: 'a cat', height: 32, width: 32, numInferenceSteps: 4, outputType: 'latent' } as const;

describe('arguments of Diffusers', () => {
  let opened: OpenedPipeline;
  beforeAll(async () => {
    opened = await openPipeline('sd3');
  });
  afterAll(() => opened.close());
  const latentsOf = async (options: GenerateOptions) =>
    (await opened.pipe.generate({ ...request, ...options })).latents;

  it('a generator is the noise of its seed, one for each image is that image alone', async () => {
    const seeded = await latentsOf({ seed: 5 });
    expect((await latentsOf({ generator: new Generator(5) })).data).toEqual(seeded.data);
    const two = await latentsOf({ generator: [new Generator(5), new Generator(9)], numImages: 2 });
    const first = new Tensor('float32', two.f32.slice(0, seeded.size), seeded.shape);
    expect(relativeError(first, seeded)).toBeLessThan(1e-4);
    await expect(latentsOf({ generator: [new Generator(5)], numImages: 2 })).rejects.toThrow(
      'generator: 1 generators for 2 images',
    );
  });

  it('callbackOnStepEnd is called with the pipeline, the step and its latents, and may change them', async () => {
    const plain = await latentsOf({ seed: 5 });
    const steps: number[] = [];
    const changed = await latentsOf({
      seed: 5,
      callbackOnStepEnd: (pipe, step, _timestep, { latents }) => {
        expect(pipe).toBe(opened.pipe);
        steps.push(step);
        if (step === 1)
          return {
            latents: new Tensor(
              'float32',
              latents.f32.map((x) => 0.5 * x),
              latents.shape,
            ),
          };
      },
    });
    expect(steps).toEqual([0, 1, 2, 3]);
    expect(changed.data).not.toEqual(plain.data);
    await expect(latentsOf({ onStep: () => {}, callbackOnStepEnd: () => {} })).rejects.toThrow(/beside onStep/);
  });

  it('guidanceInterval guides these steps only: none of them is guidance of 1, all of them what there is without it', async () => {
    const never = await latentsOf({ seed: 5, guidanceInterval: [0, 0] });
    const unguided = await latentsOf({ seed: 5, guidanceScale: 1 });
    expect(relativeError(never, unguided)).toBeLessThan(1e-5);
    const always = await latentsOf({ seed: 5, guidanceInterval: [0, 1] });
    expect(always.data).toEqual((await latentsOf({ seed: 5 })).data);
    const early = await latentsOf({ seed: 5, guidanceInterval: [0, 0.5] });
    expect(early.data).not.toEqual(always.data);
    expect(early.data).not.toEqual(never.data);
  });

  it('neutral values are taken, others are not', async () => {
    const neutral = { cleanCaption: false, returnDict: true, eta: 0, output_type: 'pil' };
    await opened.pipe.generate({
      ...request,
      outputType: undefined,
      numInferenceSteps: 1,
      ...neutral,
    } as GenerateOptions);
    await expect(latentsOf({ doPatching: true } as GenerateOptions)).rejects.toThrow(/doPatching: unknown option/);
  });
});
