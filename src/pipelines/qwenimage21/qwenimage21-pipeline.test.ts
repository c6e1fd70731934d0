import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { fixtures, relativeError } from '../../models/testing/golden.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { itReproducesDiffusers, rowOf } from '../testing/recorded.ts';

const image = path.join(fixtures, 'pipelines/qwenimage_edit/image.png');
const small = { image, outputResolution: 64, numInferenceSteps: 2, outputType: 'latent' as const };

describe('QwenImage21Pipeline', () => {
  const pipe = itReproducesDiffusers('qwenimage21');

  // Of one length: as in Diffusers, a picture is placed behind the longest prompt of its batch.
  it('gives several prompts beside pictures what each gets alone', async () => {
    const prompt = ['a cat on a table', 'a table on a cat'];
    const rest = { ...small, image: [image, image], negativePrompt: 'blurry', trueCfgScale: 2 };
    const together = await pipe().generate({ ...rest, prompt, seed: [1, 2] });
    for (const [i, seed] of [1, 2].entries()) {
      const alone = await pipe().generate({ ...rest, prompt: prompt[i]!, seed });
      expect(relativeError(rowOf(together.latents, i), rowOf(alone.latents, 0))).toBeLessThan(1e-4);
    }
  });

  it('re-uses steps beside pictures as a cache says', async () => {
    const request = { ...small, prompt: 'a cat', numInferenceSteps: 4, seed: 1 };
    const plain = await pipe().generate(request);
    const cached = (residualDiffThreshold: number) =>
      pipe().generate({ ...request, cache: { cacheConfig: { maxWarmupSteps: 1, residualDiffThreshold } } });
    const exact = await cached(0);
    expect(relativeError(exact.latents, plain.latents)).toBeLessThan(1e-5);
    const reused = await cached(10);
    expect(reused.latents.shape).toEqual(plain.latents.shape);
    expect(relativeError(reused.latents, plain.latents)).toBeGreaterThan(1e-5);
  });

  it('refuses embeddings beside pictures, and sizes that its processor does not take', async () => {
    const promptEmbeds = floatTensor(new Float32Array(3 * 12), [1, 3, 12]);
    await expect(pipe().generate({ ...small, promptEmbeds })).rejects.toThrow(/^promptEmbeds: does not go with image/);
    await expect(pipe().generate({ ...small, prompt: 'a cat', outputResolution: 256 })).rejects.toThrow(
      /^outputResolution: pictures of \d+ x \d+ pixels would have \d+ slots, .* 256 to 16384 pixels/,
    );
  });
});
