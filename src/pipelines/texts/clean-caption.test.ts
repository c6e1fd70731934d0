/**
 * Against `_text_preprocessing` of Diffusers' PixArt and Sana pipelines with Beautiful Soup and ftfy, and the `TextPreprocessor` of its PRX
 * pipeline (fixtures/pipelines/captions*.json).
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { fixtures } from '../../models/testing/golden.ts';
import { cleanCaption, cleanCaptionWithTags, cleanLightly } from './clean-caption.ts';

function recorded<Case>(file: string): Case[] {
  return JSON.parse(readFileSync(path.join(fixtures, 'pipelines', file), 'utf8'));
}

it.each(recorded<[caption: string, cleaned: string]>('captions-with-html.json'))('cleans %j', (caption, cleaned) => {
  expect(cleanCaption(caption)).toBe(cleaned);
});

it.each(
  recorded<[caption: string, cleaned: string, lightly: string]>('captions.json'),
)('cleans %j as PRX does', (caption, cleaned, lightly) => {
  expect(cleanCaptionWithTags(caption)).toBe(cleaned);
  expect(cleanLightly(caption)).toBe(lightly);
});

it('is done in no time with captions made to take long', () => {
  for (const caption of [
    'a-'.repeat(40_000),
    '1'.repeat(80_000),
    `${'a.'.repeat(40_000)}com`,
    '"'.repeat(80_000),
    '<a'.repeat(40_000),
  ]) {
    cleanCaption(caption);
    cleanCaptionWithTags(caption);
  }
}, 5_000);
