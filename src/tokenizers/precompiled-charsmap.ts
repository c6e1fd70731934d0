/**
 * SentencePiece's compiled normalisation rules (the `Precompiled` step of T5 and its kin).
 *
 * The map is a double-array trie over UTF-8 bytes (darts-clone) whose leaves are offsets into a block of
 * NUL-terminated replacement strings. The original looks up short grapheme clusters whole, everything else character by
 * character, and a hit on the shortest matching prefix replaces the whole piece, odd as that is.
 */
import { DejaDitError } from '../errors/errors.ts';
import { fromBase64 } from './base64.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Grapheme clusters of this many UTF-8 bytes or more are looked up character by character. */
const longCluster = 6;

/** Bytes. The longest that Unicode has are 33. */
const longestReplacement = 256;

/**
 * The normaliser that a base64 charsmap describes.
 * @throws DejaDitError `INVALID_FILE` if the sizes in its header do not fit its length
 */
export function precompiledCharsmap(base64: string): (text: string) => string {
  const bytes = fromBase64(base64);
  const view = new DataView(bytes.buffer);
  const trieBytes = bytes.length >= 4 ? view.getUint32(0, true) : 0;
  if (trieBytes === 0 || trieBytes % 4 !== 0 || 4 + trieBytes > bytes.length) {
    throw new DejaDitError('INVALID_FILE', `the precompiled_charsmap of ${bytes.length} bytes is damaged`);
  }
  const trie = Uint32Array.from({ length: trieBytes / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const replacements = bytes.subarray(4 + trieBytes);
  for (let start = 0; start < replacements.length; ) {
    const end = replacements.indexOf(0, start);
    const length = (end < 0 ? replacements.length : end) - start;
    if (length > longestReplacement)
      throw new DejaDitError('INVALID_FILE', `the precompiled_charsmap has a replacement of ${length} bytes`);
    start += length + 1;
  }

  /** The replacement for a piece, or undefined if it stays as it is. */
  const lookUp = (piece: string): string | undefined => {
    const start = shortestPrefix(trie, encoder.encode(piece));
    if (start === undefined) return undefined;
    const end = replacements.indexOf(0, start);
    return decoder.decode(replacements.subarray(start, end < 0 ? replacements.length : end));
  };
  const byCharacter = (text: string) => [...text].map((character) => lookUp(character) ?? character).join('');

  return (text) => {
    // Without combining marks, joiners and carriage returns every cluster is one character.
    if (/^[\x20-\x7e]*$/.test(text)) return byCharacter(text);
    let out = '';
    for (const cluster of graphemeClusters(text)) {
      const whole = encoder.encode(cluster).length < longCluster ? lookUp(cluster) : undefined;
      out += whole ?? byCharacter(cluster);
    }
    return out;
  };
}

let segmenter: Intl.Segmenter | undefined;

/** `Intl.Segmenter` takes quadratic time, so it gets windows; a window's last cluster opens the next one. */
function* graphemeClusters(text: string): Generator<string> {
  segmenter ??= new Intl.Segmenter('und', { granularity: 'grapheme' });
  let start = 0;
  let size = 256;
  while (start < text.length) {
    const window = text.slice(start, start + size);
    const isLast = start + size >= text.length;
    const clusters = Array.from(segmenter.segment(window), ({ segment }) => segment);
    if (!isLast) clusters.pop();
    yield* clusters;
    for (const cluster of clusters) start += cluster.length;
    size = clusters.length === 0 ? 2 * size : 256;
  }
}

/** Walks the trie along `key`; the value of the first leaf met, or undefined if there is none. */
function shortestPrefix(trie: Uint32Array, key: Uint8Array): number | undefined {
  let position = childOffset(trie[0]!);
  for (const byte of key) {
    if (byte === 0) return undefined;
    position ^= byte;
    const unit = trie[position];
    if (unit === undefined || (unit & 0x800000ff) !== byte) return undefined;
    position ^= childOffset(unit);
    const isLeaf = (unit & 0x100) !== 0;
    if (isLeaf) return (trie[position] ?? 0) & 0x7fffffff;
  }
  return undefined;
}

/** Bits 10 to 30 hold the distance to a unit's children, in steps of 256 if bit 9 is set. */
function childOffset(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}
