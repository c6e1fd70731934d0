import { describe, expect, it } from 'vitest';
import { itCaches } from '../testing/cached.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';
import { quotedText } from './prompts.ts';
import { trainedSize } from './trained-size.ts';

describe('HunyuanVideo15Pipeline', () => {
  const pipe = itReproducesDiffusers('hunyuanvideo15');
  itCaches(pipe, 'hunyuanvideo15');
});

it('finds words in double quotes, each once', () => {
  expect(quotedText("a 'cat'")).toBeUndefined();
  expect(quotedText('“c d”, "b" and “c d”')).toBe('Text "c d". Text "b". ');
});

// Of Diffusers' `HunyuanVideo15ImageProcessor.calculate_default_height_width`.
it.each([
  [[9, 16], 640, [480, 848]],
  [[9, 16], 960, [720, 1280]],
  [[1, 1], 640, [640, 640]],
  [[1000, 300], 640, [1152, 352]],
  [[333, 512], 480, [384, 576]],
] as const)('knows the trained size for %j', (asked, edge, expected) => {
  expect(trainedSize({ height: asked[0]!, width: asked[1]! }, { edge, unit: 16 })).toEqual({
    height: expected[0],
    width: expected[1],
  });
});
