import { describe, expect, it } from 'vitest';
import { floatTensor } from '../../tensor/tensor.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';
import { glyphText } from './glyphs.ts';

describe.each([
  'hunyuan_image',
  'hunyuan_image_distilled',
  'hunyuan_image_glyph',
])('HunyuanImagePipeline: %s', (name) => {
  const pipe = itReproducesDiffusers(name);

  it.skipIf(name === 'hunyuan_image_glyph')('says that it is not told of words to be written', async () => {
    const promptEmbeds2 = floatTensor(new Float32Array(2 * 8), [1, 2, 8]);
    const small = { height: 32, width: 32, numInferenceSteps: 1, guidanceScale: 1, seed: 1 };
    const { warnings } = await pipe().generate({ ...small, prompt: 'a cat', promptEmbeds2 });
    expect(warnings.join()).toMatch(/promptEmbeds2 has no effect as this model is not told/);
  });
});

it('finds words in quotes', () => {
  expect(glyphText('a cat')).toBeUndefined();
  expect(glyphText('a "b" and “c d” or \'e\'')).toBe('Text "e". Text "b". Text "c d". ');
});
