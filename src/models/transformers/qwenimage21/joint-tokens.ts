/** The one sequence that Qwen-Image 2.1 makes of a prompt's text and pictures. */
import { DejaDitError } from '../../../errors/errors.ts';
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

function fail(message: string): never {
  throw new DejaDitError('INVALID_ARGUMENT', message, { path: 'img_mask' });
}
