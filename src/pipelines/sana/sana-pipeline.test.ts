import { describe, expect, it } from 'vitest';
import type { GenerateOptions } from '../schema/options.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('SanaPipeline', () => {
  const pipe = itReproducesDiffusers('sana');

  it('cleans captions where it is asked to', async () => {
    const size = { height: 32, width: 32, useResolutionBinning: false, numInferenceSteps: 1, seed: 1 };
    const latentsOf = async (options: GenerateOptions) => (await pipe().generate({ ...size, ...options })).latents.data;
    const scraped = 'A <b>Cat</b> http://example.com';
    expect(await latentsOf({ prompt: scraped, cleanCaption: true })).toEqual(await latentsOf({ prompt: 'a cat' }));
    expect(await latentsOf({ prompt: scraped, cleanCaption: true })).not.toEqual(await latentsOf({ prompt: scraped }));
  });
});

describe('SanaSprintPipeline', () => {
  itReproducesDiffusers('sana_sprint');
});
