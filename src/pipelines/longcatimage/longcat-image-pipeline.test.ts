import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { fixtures } from '../../models/testing/golden.ts';
import { loadTokenizer } from '../../tokenizers/tokenizer.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';
import { spelledText } from './spelled-text.ts';

describe('LongCatImagePipeline', () => {
  const pipe = itReproducesDiffusers('longcat_image');

  it('says where what is done to guidance has no effect', async () => {
    const small = { prompt: 'a cat', height: 32, width: 32, numInferenceSteps: 1, guidanceScale: 1, seed: 1 };
    const { warnings } = await pipe().generate({ ...small, enableCfgRenorm: false, cfgRenormMin: 0.5 });
    expect(warnings.join('\n')).toMatch(/^enableCfgRenorm has no effect without guidance; set guidanceScale above 1$/m);
    expect(warnings.join('\n')).toMatch(/^cfgRenormMin has no effect without guidance and enableCfgRenorm$/m);
  });

  it('spells what is quoted, and takes apostrophes for what they are', async () => {
    const tokenizer = await loadTokenizer(path.join(fixtures, 'pipelines/qwenimage_img2img/tokenizer'));
    const ids = (...texts: string[]) => tokenizer.tokenize(texts, { addSpecialTokens: false }).inputIds.flat();
    expect(spelledText('a “big cat” here', tokenizer)).toEqual(ids('a ', ...'“big cat”', ' here'));
    expect(spelledText("it's 'a cat' now", tokenizer)).toEqual(ids("it's ", ..."'a cat'", ' now'));
    expect(spelledText("it's a cat's garden", tokenizer)).toEqual(ids("it's a cat's garden"));
    expect(spelledText('', tokenizer)).toEqual([]);
  });
});
