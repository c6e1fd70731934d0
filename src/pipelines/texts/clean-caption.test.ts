/** Against the `TextPreprocessor` of Diffusers' PRX pipeline with ftfy (fixtures/pipelines/captions.json). */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { fixtures } from '../../models/testing/golden.ts';
import { cleanCaption, cleanLightly } from './clean-caption.ts';

const cases: [caption: string, cleaned: string, lightly: string][] = JSON.parse(
  readFileSync(path.join(fixtures, 'pipelines/captions.json'), 'utf8'),
);

it.each(cases)('cleans %j', (caption, cleaned, lightly) => {
  expect(cleanCaption(caption)).toBe(cleaned);
  expect(cleanLightly(caption)).toBe(lightly);
});

it('is done in no time with captions made to take long', () => {
  for (const caption of ['a-'.repeat(40_000), '1'.repeat(80_000), `${'a.'.repeat(40_000)}com`, '"'.repeat(80_000)])
    cleanCaption(caption);
}, 5_000);
