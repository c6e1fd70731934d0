/** What LongCat-Image reads of a prompt: quoted text letter by letter, so that the model can write it. */
import type { Tokenizer } from '../../tokenizers/tokenizer.ts';

const quoted = /('[^']*?'|"[^"]*?"|‘[^‘’]*?’|“[^“”]*?”)/;
const apostrophe = /([a-zA-Z]+)'([a-zA-Z]+)/g;
/** Of the private use area: stands for an apostrophe within a word, which opens and closes nothing. */
const keptApostrophe = '\uE000';

/** Ids of a prompt without special tokens: each character of its quotes, the marks included, is tokenised alone. */
export function spelledText(prompt: string, tokenizer: Tokenizer): number[] {
  const parts = prompt.replaceAll(apostrophe, `$1${keptApostrophe}$2`).split(quoted);
  const pieces = parts.flatMap((part, i) => {
    const text = part.replaceAll(keptApostrophe, "'");
    return i % 2 === 1 ? [...text] : text === '' ? [] : [text];
  });
  if (pieces.length === 0) return [];
  return tokenizer.tokenize(pieces, { addSpecialTokens: false }).inputIds.flat();
}
