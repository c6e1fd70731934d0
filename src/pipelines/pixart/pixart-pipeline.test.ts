import { describe, expect, it } from 'vitest';
import type { GenerateOptions } from '../schema/options.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('PixArtSigmaPipeline', () => {
  itReproducesDiffusers('pixart_sigma');
});

describe('PixArtAlphaPipeline, told of the picture it draws', () => {
  const pipe = itReproducesDiffusers('pixart_alpha');

  it('reads embeddings and texts of other lengths beside each other', async () => {
    const size = { height: 32, width: 32, useResolutionBinning: false, numInferenceSteps: 1, seed: 1 };
    const { latents } = await pipe().generate({ prompt: 'a photo of a cat', negativePrompt: 'x', ...size });
    expect(latents.shape).toEqual([1, 4, 4, 4]);
  });

  it('cleans captions unless told not to', async () => {
    const size = { height: 32, width: 32, useResolutionBinning: false, numInferenceSteps: 1, seed: 1 };
    const latentsOf = async (options: GenerateOptions) => (await pipe().generate({ ...size, ...options })).latents.data;
    const scraped = 'A <b>Cat</b> http://example.com';
    expect(await latentsOf({ prompt: scraped })).toEqual(await latentsOf({ prompt: 'a cat', cleanCaption: false }));
    expect(await latentsOf({ prompt: scraped, cleanCaption: false })).not.toEqual(await latentsOf({ prompt: scraped }));
  });

  it('runs at given times', async () => {
    const given = { prompt: 'x', height: 32, width: 32, useResolutionBinning: false, timesteps: [999, 500, 100] };
    const { timings } = await pipe().generate({ ...given, outputType: 'latent' });
    expect(timings.steps).toHaveLength(3);
    await expect(pipe().generate({ ...given, sigmas: [1] })).rejects.toThrow(/timesteps: sigmas are given too/);
  });

  it('refuses sizes that do not fit, where they are not brought to a trained one', async () => {
    const options = { prompt: 'x', useResolutionBinning: false, width: 33, height: 32 };
    await expect(pipe().generate(options)).rejects.toThrow(
      /width: expected a multiple of 16 without useResolutionBinning, got 33/,
    );
  });
});
