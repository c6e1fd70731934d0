import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { fixtures } from '../../models/testing/golden.ts';
import { loadTokenizer } from '../../tokenizers/tokenizer.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';
import { spelledText } from './spelled-text.ts';

describe('LongCatImagePipeline', () => {
  itReproducesDiffusers('longcat_image');

  it('spells what is quoted, and takes apostrophes for what they are', async () => {
    const tokenizer = await loadTokenizer(path.join(fixtures, 'pipelines/qwenimage_img2img/tokenizer'));
    const ids = (...texts: string[]) => tokenizer.tokenize(texts, { addSpecialTokens: false }).inputIds.flat();
    expect(spelledText('a “big cat” here', tokenizer)).toEqual(ids('a ', ...'“big cat”', ' here'));
    expect(spelledText("it's 'a cat' now", tokenizer)).toEqual(ids("it's ", ..."'a cat'", ' now'));
    expect(spelledText("it's a cat's garden", tokenizer)).toEqual(ids("it's a cat's garden"));
    expect(spelledText('', tokenizer)).toEqual([]);
  });
});
