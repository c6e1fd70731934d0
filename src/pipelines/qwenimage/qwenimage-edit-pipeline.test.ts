import path from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { Image } from '../../images/image.ts';
import { fixtures, relativeError } from '../../models/testing/golden.ts';
import { VisionEncoder } from '../request/vision-encoder.ts';
import { itReproducesDiffusers, rowOf } from '../testing/recorded.ts';

const image = path.join(fixtures, 'pipelines/qwenimage_edit/image.png');
const small = { maxArea: 64 ** 2, numInferenceSteps: 2, outputType: 'latent' as const };

describe('QwenImageEditPipeline', () => {
  const pipe = itReproducesDiffusers('qwenimage_edit');

  it('draws at the ratio of the picture, for several prompts what each gets alone', async () => {
    const prompt = ['a cat on a bench', 'red'];
    const reads = vi.spyOn(VisionEncoder.prototype, 'run');
    const together = await pipe().generate({ ...small, image, prompt, negativePrompt: ' ', seed: [1, 2] });
    // The negative prompt, which both have, once.
    expect(reads).toHaveBeenCalledTimes(3);
    reads.mockRestore();
    for (const [i, seed] of [1, 2].entries()) {
      const alone = await pipe().generate({ ...small, image, prompt: prompt[i]!, negativePrompt: ' ', seed });
      expect(relativeError(rowOf(together.latents, i), rowOf(alone.latents, 0))).toBeLessThan(1e-4);
    }
    const { width, height } = await Image.load(image);
    const [, tokens] = together.latents.shape;
    expect(width).toBeGreaterThan(height);
    expect(tokens).toBe((128 / 16) * (32 / 16));
  });

  it('refuses what it cannot see', async () => {
    const request = { ...small, prompt: 'a cat' };
    await expect(pipe().generate(request)).rejects.toThrow(/^image: /);
    await expect(pipe().generate({ ...request, image: [image, image] })).rejects.toThrow(
      /^image: this model sees one picture/,
    );
  });
});

describe('QwenImageEditPlusPipeline', () => {
  itReproducesDiffusers('qwenimage_edit_plus');
});
