import { describe, expect, it } from 'vitest';
import { fixtures, relativeError } from '../../models/testing/golden.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';

const controlImage = `${fixtures}/pipelines/flux_controlnet/control.png`;
const small = { prompt: 'cat', controlImage, height: 32, width: 48, seed: 3, outputType: 'latent' as const };

describe('StableDiffusion3ControlNetPipeline', () => {
  const pipe = itReproducesDiffusers('sd3_controlnet');

  it('is cached with what the ControlNet adds: decisions and forecasts see it', async () => {
    const request = { ...small, numInferenceSteps: 8 };
    const cache = { cacheConfig: { residualDiffThreshold: 0.6, maxWarmupSteps: 2 } };
    const draw = (scale: number, more = {}) =>
      pipe().generate({ ...request, controlnetConditioningScale: scale, ...more });
    const [plain, cached, none] = [await draw(1), await draw(1, { cache }), await draw(0)];
    const [summary] = cached.summary;
    expect(summary!.cachedSteps.length).toBeGreaterThan(0);
    expect(relativeError(cached.latents, plain.latents)).toBeLessThan(relativeError(none.latents, plain.latents) / 2);
    const otherCached = await draw(0, { cache });
    expect(otherCached.summary[0]!.residualDiffs).not.toEqual(summary!.residualDiffs);
  });

  it('sees a picture in steps without guidance too', async () => {
    const request = { ...small, negativePrompt: 'dog', numInferenceSteps: 4 };
    const { latents } = await pipe().generate({ ...request, guidanceInterval: [0, 0.5] });
    const always = await pipe().generate(request);
    expect(relativeError(latents, always.latents)).toBeGreaterThan(1e-3);
  });
});

describe('StableDiffusion3ControlNetPipeline with a net that reads no text', () => {
  itReproducesDiffusers('sd3_controlnet_8b');
});

describe('StableDiffusion3ControlNetPipeline with two nets', () => {
  itReproducesDiffusers('sd3_controlnets');
});

describe('StableDiffusion3ControlNetInpaintingPipeline', () => {
  const pipe = itReproducesDiffusers('sd3_controlnet_inpaint');

  it('needs a mask', async () => {
    await expect(pipe().generate(small)).rejects.toThrow(/^controlMask: /);
  });
});
