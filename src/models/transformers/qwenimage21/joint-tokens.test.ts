/** The mask of Qwen-Image 2.1, written by runs, against its rule for every pair of tokens. */
import { expect, it } from 'vitest';
import { MASKED } from '../../../nn/attention/attention-mask.ts';
import { blockCausalBias, jointTokens } from './joint-tokens.ts';

it.each([
  ['text alone around a picture', undefined],
  [
    'samples with padding at both ends, between, or everywhere',
    ['11111111', '10000111', '01000100', '00000000'].map((row) => [...row].map((kept) => kept === '1')),
  ],
])('each token sees what is before it, and all of its picture: %s', (_, keptText) => {
  // Two texts, two pictures beside each other, text, and the picture to make.
  const slots = [...'00111011'].map((slot) => slot === '1');
  const shapes = [
    [1, 2, 2],
    [1, 2, 4],
    [1, 4, 2],
  ] as const;
  const tokens = jointTokens(shapes, { slots, textTokens: slots.length });
  const expected = (keptText ?? [undefined]).flatMap((kept) =>
    tokens.flatMap((query, q) =>
      tokens.map((key, k) => {
        const isPadding = key.image === undefined && kept?.[key.source] === false;
        const isSeen = q >= k || (query.image !== undefined && query.image === key.image);
        return isSeen && !isPadding ? 0 : MASKED;
      }),
    ),
  );
  const bias = blockCausalBias(tokens, keptText);
  expect(bias.shape).toEqual([keptText?.length ?? 1, 1, tokens.length, tokens.length]);
  expect([...bias.f32]).toEqual(expected);
});
