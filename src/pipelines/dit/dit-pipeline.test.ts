import { describe, expect, it } from 'vitest';
import { relativeError } from '../../models/testing/golden.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { itReproducesDiffusers, rowOf } from '../testing/recorded.ts';

describe('DiTPipeline', () => {
  const pipe = itReproducesDiffusers('dit');
  const latents = async (options: GenerateOptions) =>
    (await pipe().generate({ numInferenceSteps: 2, outputType: 'latent', ...options })).latents;

  it('takes classes by their names', async () => {
    const named = await latents({ classLabels: ['goldfish', 'Tinca tinca'], seed: 1 });
    expect(named.data).toEqual((await latents({ classLabels: [1, 0], seed: 1 })).data);
  });

  it('draws several images of a class', async () => {
    const two = await latents({ classLabels: 7, numImages: 2, seed: [3, 4] });
    const second = await latents({ classLabels: [7], seed: 4 });
    expect(relativeError(rowOf(two, 1), rowOf(second, 0))).toBeLessThan(1e-5);
  });

  it.each([
    [{}, /classLabels: expected a number from 0 to 9/],
    [{ classLabels: 10 }, /classLabels: expected an integer from 0 to 9, got 10/],
    [
      { classLabels: 'goldfisch' },
      /no class "goldfisch"; use a number from 0 to 9, or a name: did you mean goldfish\? known: tench, /,
    ],
    [{ classLabels: 'a zeppelin' }, /no class "a zeppelin"; use a number from 0 to 9/],
    [{ classLabels: 1, prompt: 'x' }, /prompt: unknown option of DiTPipeline/],
    [{ classLabels: 1, height: 64 }, /height: unknown option of DiTPipeline/],
  ])('refuses %j', async (options, message) => {
    await expect(pipe().generate(options as GenerateOptions)).rejects.toThrow(message);
  });
});
