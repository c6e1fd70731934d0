/** The one sequence that Qwen-Image 2.1 makes of a prompt's text and pictures. */
import { DejaDitError } from '../../../errors/errors.ts';
import { MASKED } from '../../../nn/attention/attention-mask.ts';
import { floatTensor, type Tensor } from '../../../tensor/tensor.ts';
import type { ImageShape } from '../qwenimage/image-shapes.ts';

/** Tokens that a picture has for each slot of the prompt. */
const TOKENS_PER_SLOT = 4;

export interface JointToken {
  /** Which picture it belongs to; undefined for text. */
  image: number | undefined;
  /** Its index among the text's slots, or among all pictures' tokens. */
  source: number;
  position: readonly number[];
}

/**
 * Text counts on along all three axes. A picture stays at the count it begins at, with rows and columns around its centre, and text goes
 * on after its longer side.
 * @param slots which slots of the prompt are pictures', those of the picture to make included
 */
export function jointTokens(
  shapes: readonly ImageShape[],
  { slots, textTokens }: { slots: readonly boolean[]; textTokens: number },
): JointToken[] {
  const tokens: JointToken[] = [];
  const total = shapes.reduce((sum, [, rows, columns]) => sum + rows * columns, 0);
  const pictureSlots = slots.filter(Boolean).length;
  if (pictureSlots * TOKENS_PER_SLOT !== total) {
    fail(`${pictureSlots} slots of pictures, expected ${total / TOKENS_PER_SLOT} for ${total} tokens`);
  }
  let [position, image, source] = [0, 0, 0];
  for (let slot = 0; slot < slots.length; ) {
    if (!slots[slot]) {
      if (slot >= textTokens) fail(`slot ${slot} is text, but there are ${textTokens} text tokens`);
      tokens.push({ image: undefined, source: slot++, position: [position, position, position] });
      position++;
      continue;
    }
    const [, rows, columns] = shapes[image]!;
    for (let i = 0; i < rows * columns; i++) {
      const [row, column] = [Math.floor(i / columns), i % columns];
      const centred = [row - Math.ceil(rows / 2), column - Math.ceil(columns / 2)];
      tokens.push({ image, source: source++, position: [position, ...centred] });
    }
    position += Math.max(rows, columns);
    slot += (rows * columns) / TOKENS_PER_SLOT;
    image++;
  }
  return tokens;
}

/**
 * What is added to scores, [samples, 1, S, S]: a token sees what is before it, and all of its own picture, but no padding. Written by runs of
 * tokens, since there are millions of pairs.
 * @param keptText by sample, which of the text is not padding; default: one sample, all of it
 */
export function blockCausalBias(
  tokens: readonly JointToken[],
  keptText: readonly (readonly boolean[])[] | undefined,
): Tensor {
  const count = tokens.length;
  const samples = keptText?.length ?? 1;
  const bias = new Float32Array(samples * count * count);
  const ends = runEnds(tokens.map(({ image }) => image));
  for (let sample = 0; sample < samples; sample++) {
    const isPadding = tokens.map(({ image, source }) => image === undefined && keptText?.[sample]?.[source] === false);
    const paddingEnds = runEnds(isPadding);
    for (let query = 0; query < count; query++) {
      const row = (sample * count + query) * count;
      const seen = tokens[query]!.image === undefined ? query + 1 : ends[query]!;
      bias.fill(MASKED, row + seen, row + count);
      for (let key = 0; key < seen; key = paddingEnds[key]!) {
        if (isPadding[key]) bias.fill(MASKED, row + key, row + paddingEnds[key]!);
      }
    }
  }
  return floatTensor(bias, [samples, 1, count, count]);
}

/** For each of some values, where the run of equal ones that it is in ends. */
function runEnds(values: readonly unknown[]): number[] {
  const ends = Array<number>(values.length);
  for (let i = values.length - 1; i >= 0; i--)
    ends[i] = i + 1 < values.length && values[i] === values[i + 1] ? ends[i + 1]! : i + 1;
  return ends;
}

function fail(message: string): never {
  throw new DejaDitError('INVALID_ARGUMENT', message, { path: 'img_mask' });
}
