import { describe, expect, it } from 'vitest';
import { fixtures, relativeError } from '../../models/testing/golden.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';

const controlImage = `${fixtures}/pipelines/flux_controlnet/control.png`;
const small = { prompt: 'cat', controlImage, height: 32, width: 48, seed: 3, outputType: 'latent' as const };

describe('QwenImageControlNetPipeline', () => {
  const pipe = itReproducesDiffusers('qwenimage_controlnet');

  it('is cached with what the ControlNet adds: decisions and forecasts see it, in both branches', async () => {
    const request = { ...small, negativePrompt: 'dog', trueCfgScale: 2, numInferenceSteps: 8 };
    const cache = { cacheConfig: { residualDiffThreshold: 0.6, maxWarmupSteps: 2 } };
    const draw = (scale: number, more = {}) =>
      pipe().generate({ ...request, controlnetConditioningScale: scale, ...more });
    const [plain, cached, none] = [await draw(1), await draw(1, { cache }), await draw(0)];
    const [summary] = cached.summary;
    expect(summary!.cachedSteps.length).toBeGreaterThan(0);
    expect(summary!.cfgCachedSteps.length).toBeGreaterThan(0);
    expect(relativeError(cached.latents, plain.latents)).toBeLessThan(relativeError(none.latents, plain.latents) / 2);
    const otherCached = await draw(0, { cache });
    expect(otherCached.summary[0]!.residualDiffs).not.toEqual(summary!.residualDiffs);
  });
});

describe('QwenImageControlNetPipeline with one net for two pictures', () => {
  itReproducesDiffusers('qwenimage_controlnets');
});

describe('QwenImageControlNetInpaintPipeline', () => {
  itReproducesDiffusers('qwenimage_controlnet_inpaint');
});
