import { describe, expect, it } from 'vitest';
import { relativeError } from '../../models/testing/golden.ts';
import { itReproducesDiffusers, rowOf } from '../testing/recorded.ts';
import { warningsOf } from '../testing/warnings.ts';

describe('QwenImagePipeline', () => {
  const pipe = itReproducesDiffusers('qwenimage');
  const small = { height: 32, width: 32, numInferenceSteps: 2, outputType: 'latent' as const };

  // Diffusers pairs the images with the masks of other prompts here.
  it('gives each of several images of several prompts what it gets alone', async () => {
    const prompts = ['a photo of a cat on a bench in a garden', 'cat'];
    const together = await pipe().generate({ ...small, prompt: prompts, numImages: 2, seed: [1, 2, 3, 4] });
    for (const [i, seed] of [1, 2, 3, 4].entries()) {
      const alone = await pipe().generate({ ...small, prompt: prompts[i >> 1]!, seed });
      expect(relativeError(rowOf(together.latents, i), rowOf(alone.latents, 0)), `image ${i}`).toBeLessThan(1e-4);
    }
  });

  it('says which options have no effect', async () => {
    const unguided = await warningsOf(() =>
      pipe().generate({ ...small, prompt: 'cat', trueCfgScale: 4, guidanceScale: 3 }),
    );
    expect(unguided).toMatch(/trueCfgScale has no effect without a negativePrompt/);
    expect(unguided).toMatch(/guidanceScale has no effect as this model has no guidance embedding/);
  });

  it('refuses a size that does not fit', async () => {
    await expect(pipe().generate({ ...small, prompt: 'cat', height: 40 })).rejects.toThrow(/height: .*multiple of 16/);
  });
});

describe('QwenImageInpaintPipeline', () => {
  itReproducesDiffusers('qwenimage_inpaint');
});
