import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { precompiledCharsmap } from './precompiled-charsmap.ts';
import { parseSentencePiece } from './sentencepiece.ts';

const path = new URL('../../fixtures/tokenizers/t5_spiece/spiece.model', import.meta.url);

it('composes a cluster wherever it lies in a long text', async () => {
  const { charsmap } = parseSentencePiece(await readFile(path), 'spiece.model');
  const normalize = precompiledCharsmap(Buffer.from(charsmap).toString('base64'));
  const long = 'x\u0301'.repeat(600);
  for (let shift = 0; shift < 4; shift++) {
    const start = 'x'.repeat(shift);
    expect(normalize(start + 'e\u0301\u{1f600}'.repeat(500))).toBe(start + '\u00e9\u{1f600}'.repeat(500));
    // A cluster longer than any window, looked up character by character, then a short one.
    const heap = `${start}e${'\u0301'.repeat(700)}`;
    expect(normalize(`${heap}ﬁ${long}`)).toBe(`${heap}fi${long}`);
  }
});
