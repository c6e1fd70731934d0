import { rmSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import { assembleCheckpoint, itReproducesDiffusers, readRecording } from '../testing/recorded.ts';
import { warningsOf } from '../testing/warnings.ts';

const small = { prompt: 'a cat', height: 16, width: 32, numInferenceSteps: 1, seed: 1 };

describe('WanPipeline', () => {
  const pipe = itReproducesDiffusers('wan');

  it('gives videos, and previews of their first frames', async () => {
    const previews: number[] = [];
    const { images, videos } = await pipe().generate({
      ...small,
      numFrames: 5,
      numImages: 2,
      onStep: async ({ preview }) => void previews.push((await preview()).length),
    });
    expect(images).toEqual([]);
    expect(videos.map(({ frames, fps, width, height }) => [frames.length, fps, width, height])).toEqual([
      [5, 16, 32, 16],
      [5, 16, 32, 16],
    ]);
    expect(previews).toEqual([2]);
  });

  it('says what it makes of a number of frames that cannot be, and which options have no effect', async () => {
    let frames = 0;
    const warnings = await warningsOf(async () => {
      const { videos } = await pipe().generate({ ...small, numFrames: 6, guidanceScale2: 2 });
      frames = videos[0]!.frames.length;
    });
    expect(frames).toBe(5);
    expect(warnings).toMatch(/numFrames 6 becomes 5/);
    expect(warnings).toMatch(/guidanceScale2 has no effect as this model has one expert/);
  });
});

describe('WanPipeline with the autoencoder of the small Wan 2.2, and times per token that are all equal', () => {
  itReproducesDiffusers('wan22_expanded');
});

describe('WanPipeline with two experts', () => {
  itReproducesDiffusers('wan22_moe');

  it.each([
    [{ boundary_ratio: 'half' }, {}, /'boundary_ratio' is "half", expected a number/],
    [{ boundary_ratio: 0.9 }, { transformer_2: null }, /has no 'transformer_2'/],
  ])('refuses a checkpoint with %j, %j', async (options, parts, message) => {
    const { checkpoint } = readRecording('wan22_moe');
    const components = { ...checkpoint.components, ...parts };
    const root = assembleCheckpoint({ ...checkpoint, options, components });
    try {
      await expect(DiffusionPipeline.fromPretrained(root)).rejects.toThrow(message);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});
