import { describe, expect, it } from 'vitest';
import { fixtures, relativeError } from '../../models/testing/golden.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';

const controlImage = `${fixtures}/pipelines/flux_controlnet/control.png`;
const small = { prompt: 'cat', controlImage, height: 32, width: 48, seed: 3, outputType: 'latent' as const };

describe('FluxControlNetPipeline', () => {
  const pipe = itReproducesDiffusers('flux_controlnet');

  it('is cached with what the ControlNet adds: decisions and forecasts see it', async () => {
    const request = { ...small, numInferenceSteps: 8 };
    const cache = { cacheConfig: { residualDiffThreshold: 0.68, maxWarmupSteps: 2 } };
    const draw = (scale: number, more = {}) =>
      pipe().generate({ ...request, controlnetConditioningScale: scale, ...more });
    const [plain, cached, none] = [await draw(1), await draw(1, { cache }), await draw(0)];
    const [summary] = cached.summary;
    expect(summary!.cachedSteps.length).toBeGreaterThan(0);
    // Without the net the picture is another one; the forecasts stay with the net's.
    const change = relativeError(none.latents, plain.latents);
    expect(relativeError(cached.latents, plain.latents)).toBeLessThan(change / 2);
    const otherCached = await draw(0, { cache });
    expect(otherCached.summary[0]!.residualDiffs).not.toEqual(summary!.residualDiffs);
  });

  it('says what does not act', async () => {
    const { warnings } = await pipe().generate({ ...small, numInferenceSteps: 1, controlMode: 1 });
    expect(warnings.join()).toMatch(/controlMode has no effect as this ControlNet knows one kind of pictures/);
    const idle = await pipe().generate({ ...small, numInferenceSteps: 2, controlGuidanceStart: 0.8 });
    expect(idle.warnings.join()).toMatch(/the ControlNet has no effect, as none of 2 steps is within/);
    await expect(pipe().generate({ ...small, controlImage: undefined })).rejects.toThrow(/^controlImage: /);
  });
});

describe('FluxControlNetPipeline with a net for several kinds of pictures', () => {
  const pipe = itReproducesDiffusers('flux_controlnet_union');

  it('asks which kind it is', async () => {
    await expect(pipe().generate(small)).rejects.toThrow('controlMode: missing');
    await expect(pipe().generate({ ...small, controlMode: 3 })).rejects.toThrow('mode 3, expected 0 to 2');
  });
});

describe('FluxControlNetPipeline with two nets', () => {
  const pipe = itReproducesDiffusers('flux_controlnets');

  it('asks for a picture and at most one number for each', async () => {
    const two = { ...small, controlImage: [controlImage, controlImage], numInferenceSteps: 2 };
    await expect(pipe().generate(small)).rejects.toThrow(
      'controlImage: 1 for 2 ControlNets, expected a list with one for each',
    );
    await expect(pipe().generate({ ...two, controlnetConditioningScale: [1, 1, 1] })).rejects.toThrow(
      'controlnetConditioningScale: 3 for 2 ControlNets',
    );
    const { warnings } = await pipe().generate({ ...two, controlGuidanceStart: [0, 0.8] });
    expect(warnings.join()).toMatch(/ControlNet 2 has no effect, as none of 2 steps is within/);
  });

  it('adds them up', async () => {
    const both = { ...small, controlImage: [controlImage, controlImage], numInferenceSteps: 2 };
    const twice = await pipe().generate({ ...both, controlnetConditioningScale: [0.3, 0.4] });
    const once = await pipe().generate({ ...both, controlnetConditioningScale: [0.7, 0] });
    // The samples of the picture's latents are two draws.
    expect(relativeError(twice.latents, once.latents)).toBeLessThan(0.05);
    expect(Object.keys(pipe().models)).toEqual(['text_encoder', 'text_encoder_2', 'controlnet']);
  });
});

describe('FluxControlNetPipeline with one net for several kinds of pictures', () => {
  const pipe = itReproducesDiffusers('flux_controlnets_union');

  it('asks for the kind of each', async () => {
    const two = { ...small, controlImage: [controlImage, controlImage] };
    await expect(pipe().generate({ ...two, controlMode: [1, null] })).rejects.toThrow('controlMode[1]: missing');
  });
});

describe("FluxControlNetPipeline with XLabs' net", () => {
  itReproducesDiffusers('flux_controlnet_xlabs');
});
