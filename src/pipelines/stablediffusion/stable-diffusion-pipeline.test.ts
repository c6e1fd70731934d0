import { describe, expect, it } from 'vitest';
import { enableCache } from '../../api/enable-cache.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { itReproducesDiffusers, optionsOf, readRecording } from '../testing/recorded.ts';
import { warningsOf } from '../testing/warnings.ts';

describe('StableDiffusionPipeline', () => {
  const pipe = itReproducesDiffusers('stable_diffusion');

  it('calls its model by the name it has in the checkpoint', () => {
    expect(Object.keys(pipe().transformers)).toEqual(['unet']);
  });

  it('skips whole calls, since its blocks cannot stand for each other', async () => {
    const run = readRecording('stable_diffusion').runs[0]!;
    const options = { ...(await optionsOf('stable_diffusion', run)), outputType: 'latent' as const };
    expect(() => enableCache(pipe(), { cacheConfig: {} })).toThrow(
      /cacheConfig.cacheType: the blocks of UNet2D.*EasyCache/,
    );
    const cacheConfig = { cacheType: 'EasyCache', maxWarmupSteps: 2, residualDiffThreshold: 10 } as const;
    const actions: string[] = [];
    const result = await pipe().generate({
      ...options,
      cache: { cacheConfig },
      onStep: ({ action }) => void actions.push(action),
    });
    expect(actions).toContain('reuse');
    expect(result.latents.shape).toEqual([1, 4, 6, 8]);
  });
});

describe('StableDiffusionPipeline with a latent consistency model', () => {
  const pipe = itReproducesDiffusers('stable_diffusion_lcm');

  it('says that a negative prompt has no effect', async () => {
    const warnings = await warningsOf(() =>
      pipe().generate({ prompt: 'x', negativePrompt: 'y', height: 16, width: 16, numInferenceSteps: 1 }),
    );
    expect(warnings).toMatch(/negativePrompt has no effect as this model was distilled/);
  });
});

describe('StableDiffusionXLPipeline', () => {
  const pipe = itReproducesDiffusers('stable_diffusion_xl');

  it.each([
    [{ originalSize: [96] }, /originalSize: expected two integers/],
    [{ height: 30 }, /height: .*multiple of 8/],
  ])('refuses %j', async (options, message) => {
    await expect(pipe().generate({ prompt: 'x', ...options } as GenerateOptions)).rejects.toThrow(message);
  });
});

describe('StableDiffusionXLPipeline, distilled for one or two steps', () => {
  itReproducesDiffusers('stable_diffusion_xl_turbo');
});

describe('StableDiffusionInpaintPipeline', () => {
  const pipe = itReproducesDiffusers('stable_diffusion_inpaint');

  it('says what is missing, and that latents have no effect', async () => {
    const { call, ...run } = readRecording('stable_diffusion_inpaint').runs[0]!;
    const options = await optionsOf('stable_diffusion_inpaint', { ...run, call: { ...call, num_inference_steps: 2 } });
    await expect(pipe().generate({ ...options, maskImage: undefined } as unknown as GenerateOptions)).rejects.toThrow(
      /^maskImage: /,
    );
    const latents = new Tensor('float32', new Float32Array(96), [1, 4, 4, 6]);
    const { warnings } = await pipe().generate({ ...options, latents });
    expect(warnings.join()).toMatch(/latents has no effect with an image/);
  });
});

describe('StableDiffusionInpaintPipeline with a model that sees the mask', () => {
  itReproducesDiffusers('stable_diffusion_inpaint_9ch');
});

describe('StableDiffusionXLInpaintPipeline', () => {
  itReproducesDiffusers('stable_diffusion_xl_inpaint');
});
