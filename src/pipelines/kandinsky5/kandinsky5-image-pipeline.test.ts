import { describe, expect, it } from 'vitest';
import { registerPipeline } from '../registry.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';
import { kandinsky5Images, nearestSize } from './kandinsky5-image-pipeline.ts';

// Recorded with sizes that are drawn in no time.
const sizes = [
  [48, 48],
  [32, 64],
  [64, 32],
] as const;
registerPipeline(kandinsky5Images('SmallKandinsky5T2IPipeline', sizes));

describe('Kandinsky5T2IPipeline', () => {
  const pipe = itReproducesDiffusers('kandinsky5_t2i', 1e-3);

  it('says which size it draws', async () => {
    const call = { prompt: 'a cat', height: 60, width: 40, numInferenceSteps: 1, guidanceScale: 1, seed: 1 };
    const { images, warnings } = await pipe().generate(call);
    expect([images[0]!.width, images[0]!.height]).toEqual([32, 64]);
    expect(warnings.join()).toMatch(/width 40 and height 60 become 32 and 64: the trained size nearest in shape/);
  });
});

it.each([
  [
    [1024, 1024],
    [1024, 1024],
  ],
  [
    [640, 1408],
    [640, 1408],
  ],
  [
    [512, 512],
    [1024, 1024],
  ],
  [
    [1920, 1080],
    [1280, 768],
  ],
] as const)('draws %j at %j', (asked, size) => {
  expect(nearestSize(asked)).toEqual(size);
});
