/** ByT5's tokenizer (arXiv 2105.13626), which has no files: a token is a byte of UTF-8, behind three special ones. */
import { addedToken, type TokenizerDefinition } from './definition.ts';

const specials = ['<pad>', '</s>', '<unk>'];

/** @param extraIds sentinels `<extra_id_n>` behind the bytes */
export function byteDefinition({ extraIds }: { extraIds: number }): TokenizerDefinition {
  const sentinels = Array.from({ length: extraIds }, (_, i) => `<extra_id_${i}>`);
  const vocab = Object.fromEntries([
    ...specials.map((content, id) => [content, id] as const),
    ...byteCharacters().map((character, byte) => [character, specials.length + byte] as const),
  ]);
  const firstSentinel = specials.length + 256;
  return {
    added_tokens: [
      ...specials.map((content, id) => addedToken(id, { content, special: true })),
      ...sentinels.map((content, i) => addedToken(firstSentinel + i, { content, special: true })),
    ],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
    },
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab, merges: [], unk_token: '<unk>' },
  };
}

/** The character that stands for each byte in byte-level vocabularies: itself where it can be seen, others from U+0100 on. */
function byteCharacters(): string[] {
  const isSeen = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let hidden = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isSeen(byte) ? byte : hidden++));
}
