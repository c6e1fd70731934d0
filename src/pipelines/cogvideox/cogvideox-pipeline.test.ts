import { describe, expect, it } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('CogVideoXPipeline with DPM and dynamic guidance', () => {
  itReproducesDiffusers('cogvideox');
});

describe('CogVideoXPipeline with DDIM', () => {
  const pipe = itReproducesDiffusers('cogvideox_ddim');

  it('draws the frames that its chunks give', async () => {
    const request = { prompt: 'a cat', height: 16, width: 32, numInferenceSteps: 1, guidanceScale: 1, seed: 1 };
    const { videos, warnings } = await pipe().generate({ ...request, numFrames: 5, useDynamicCfg: true });
    expect(videos[0]!.frames).toHaveLength(8);
    expect(warnings.join()).toMatch(/numFrames 5 becomes 8/);
    expect(warnings.join()).toMatch(/useDynamicCfg has no effect without guidance/);
  });
});
