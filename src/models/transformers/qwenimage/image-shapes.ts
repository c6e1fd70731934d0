/** Qwen-Image's `img_shapes`: which images a sequence of tokens consists of, and where their tokens sit. */
import { DejaDitError } from '../../../errors/errors.ts';
import { gridPositions } from '../../../nn/rotary.ts';
import type { InputValue } from '../../inputs.ts';

/** Frames, rows and columns of an image, in tokens. */
export type ImageShape = readonly [number, number, number];

export function tokensOf([frames, rows, columns]: ImageShape): number {
  return frames * rows * columns;
}

/**
 * Reads `img_shapes`: per sample a list of (frames, rows, columns), or a single such triple. All samples of a batch must have
 * the same images.
 * @param tokens image tokens of the call
 * @throws DejaDitError naming `img_shapes`
 */
export function imageShapes(value: InputValue, { batch, tokens }: { batch: number; tokens: number }): ImageShape[] {
  const samples = Array.isArray(value) ? value.map(sampleShapes) : [];
  if ((samples.length !== 1 && samples.length !== batch) || samples.some((sample) => sample === undefined)) {
    fail('INVALID_ARGUMENT', `expected a list of [frames, rows, columns] for each of the ${batch} sample(s)`);
  }
  const [first, ...others] = samples as [ImageShape[], ...ImageShape[][]];
  if (others.some((sample) => String(sample) !== String(first))) {
    fail('UNSUPPORTED', 'samples of other image sizes cannot share a batch; call once for each size');
  }
  const total = first.reduce((sum, shape) => sum + tokensOf(shape), 0);
  if (total !== tokens) {
    fail('SHAPE_MISMATCH', `shapes [${first.join('], [')}] are ${total} tokens, hidden_states has ${tokens}`);
  }
  return first;
}

/** One sample's images; undefined if it is neither a triple nor a list of triples. */
function sampleShapes(value: InputValue): ImageShape[] | undefined {
  const isTriple = (entry: InputValue): entry is ImageShape =>
    Array.isArray(entry) && entry.length === 3 && entry.every((size) => Number.isSafeInteger(size) && size > 0);
  if (isTriple(value)) return [value];
  return Array.isArray(value) && value.length > 0 && value.every(isTriple) ? value : undefined;
}

export interface PositionOptions {
  textTokens: number;
  /** The last image sits at frame −1, and the count of the others bounds where text begins. */
  layered: boolean;
}

/** Positions (frame, row, column) of [text, images]. */
export function positions(images: readonly ImageShape[], { textTokens, layered }: PositionOptions): number[][] {
  const centre = (size: number) => size - Math.floor(size / 2);
  const ofImages = images.flatMap((shape, index) => {
    const [, rows, columns] = shape;
    const firstFrame = layered && index === images.length - 1 ? -1 : index;
    return gridPositions(shape).map(([frame, row, column]) => [
      firstFrame + frame!,
      row! - centre(rows),
      column! - centre(columns),
    ]);
  });
  const reach = images.map(([, rows, columns]) => Math.max(Math.floor(rows / 2), Math.floor(columns / 2)));
  const textStart = Math.max(...reach, layered ? images.length - 1 : 0);
  const ofText = Array.from({ length: textTokens }, (_, i) => Array<number>(3).fill(textStart + i));
  return [...ofText, ...ofImages];
}

function fail(code: 'INVALID_ARGUMENT' | 'UNSUPPORTED' | 'SHAPE_MISMATCH', message: string): never {
  throw new DejaDitError(code, message, { path: 'img_shapes' });
}
