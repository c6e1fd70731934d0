import { describe, expect, it } from 'vitest';
import { Image } from '../../images/image.ts';
import { floatTensor } from '../../tensor/tensor.ts';
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

describe('CogVideoXPipeline of version 1.5', () => {
  itReproducesDiffusers('cogvideox15');
});

describe('CogVideoXImageToVideoPipeline', () => {
  itReproducesDiffusers('cogvideox_i2v');
});

describe('CogVideoXImageToVideoPipeline of version 1.5', () => {
  itReproducesDiffusers('cogvideox15_i2v');
});

describe('CogVideoXVideoToVideoPipeline', () => {
  const pipe = itReproducesDiffusers('cogvideox_v2v');

  it('refuses frames that are no whole number of latents', async () => {
    const video = Array.from({ length: 4 }, () => Image.fromTensor(floatTensor(new Float32Array(768), [1, 3, 16, 16])));
    await expect(pipe().generate({ prompt: 'a cat', height: 16, width: 32, video })).rejects.toThrow(
      /^video: 4 frames are no whole number of latents/,
    );
  });
});
