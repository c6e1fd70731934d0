import { describe, expect, it } from 'vitest';
import { itReproducesDiffusers, optionsOf, readRecording } from '../testing/recorded.ts';

describe('LTXPipeline', () => {
  const pipe = itReproducesDiffusers('ltx');

  it('warns of noise for an autoencoder that removes none', async () => {
    const [run] = readRecording('ltx').runs;
    const options = await optionsOf('ltx', run!);
    const { warnings } = await pipe().generate({
      ...options,
      numInferenceSteps: 1,
      decodeTimestep: 0.05,
      outputType: 'latent',
    });
    expect(warnings).toEqual(['decodeTimestep has no effect as this autoencoder removes no noise']);
  });
});

describe('LTXPipeline whose autoencoder removes the last noise', () => {
  const pipe = itReproducesDiffusers('ltx_timed');

  it('previews the first frame, and draws the same noise after it', async () => {
    const [run] = readRecording('ltx_timed').runs;
    const options = await optionsOf('ltx_timed', run!);
    const [plain, previewed] = [await pipe().generate(options), [] as number[]];
    const { videos } = await pipe().generate({
      ...options,
      onStep: async ({ preview }) => void previewed.push((await preview()).length),
    });
    expect(previewed).toEqual([1, 1, 1, 1]);
    expect(videos).toEqual(plain.videos);
  });

  it('refuses a list that has not a number for each video', async () => {
    const [run] = readRecording('ltx_timed').runs;
    const options = await optionsOf('ltx_timed', run!);
    await expect(pipe().generate({ ...options, decodeNoiseScale: [0.1, 0.2] })).rejects.toThrow(
      'decodeNoiseScale: 2 numbers for 1 videos',
    );
  });
});
