import { describe, expect, it } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';
import { glyphText } from './glyphs.ts';

describe.each([
  'hunyuan_image',
  'hunyuan_image_distilled',
  'hunyuan_image_glyph',
])('HunyuanImagePipeline: %s', (name) => {
  itReproducesDiffusers(name);
});

it('finds words in quotes', () => {
  expect(glyphText('a cat')).toBeUndefined();
  expect(glyphText('a "b" and “c d” or \'e\'')).toBe('Text "e". Text "b". Text "c d". ');
});
