/**
 * How Z-Image lays out a batch. Each sample's image and caption are padded to multiples of 32 with a learned token that attention
 * sees. Where samples differ, the shorter are padded with zeros that no key sees but that are still queries, without a position.
 * Positions are (index, 0, 0) from 1 on for captions, padding included, and (index behind the caption, row, column) for images.
 */
import { type KeyMask, keyMask } from '../../../nn/attention/attention-mask.ts';
import { gridPositions, type RotaryTableOptions, type RotaryTables, rotaryTables } from '../../../nn/rotary.ts';
import { dims, floatTensor, intTensor, type Tensor } from '../../../tensor/tensor.ts';

const MULTIPLE = 32;

export interface SampleSize {
  grid: readonly number[];
  captionTokens: number;
}

export interface Sequences {
  /** Rows, tables and masks of image, caption and both, as graph inputs. */
  tensors: Record<string, Tensor>;
  rotary: RotaryTables;
  mask: KeyMask<Tensor>;
  /** Image tokens of the largest sample, padding included: the first tokens of the joined sequence. */
  imageTokens: number;
}

/** A sample's part of a sequence. */
interface Part {
  /** Where each token comes from: a row of `joinPadded`, or behind it. */
  rows: number[];
  positions: number[][];
}

export function arrange(samples: readonly SampleSize[], options: RotaryTableOptions): Sequences {
  const imageCounts = samples.map(({ grid }) => grid.reduce((size, axis) => size * axis, 1));
  const captionCounts = samples.map(({ captionTokens }) => captionTokens);
  const captionParts = partsOf(captionCounts, (sample) =>
    Array.from({ length: padded(captionCounts[sample]!) }, (_, i) => [i + 1, 0, 0]),
  );
  const imageParts = partsOf(imageCounts, (sample) => {
    const behind = padded(captionCounts[sample]!) + 1;
    const cells = gridPositions(samples[sample]!.grid).map(([frame, row, column]) => [behind + frame!, row!, column!]);
    return [...cells, ...Array.from({ length: padded(cells.length) - cells.length }, () => [0, 0, 0])];
  });

  const image = batchOf(imageParts, { zeroRow: padRowOf(imageCounts) + 1, options });
  const caption = batchOf(captionParts, { zeroRow: padRowOf(captionCounts) + 1, options });
  const [imageTokens, captionTokens] = [image.rows.dim(1), caption.rows.dim(1)];
  const joined = batchOf(
    samples.map((_, sample) => ({
      rows: [
        ...imageParts[sample]!.rows.map((_, i) => sample * imageTokens + i),
        ...captionParts[sample]!.rows.map((_, i) => samples.length * imageTokens + sample * captionTokens + i),
      ],
      positions: [...imageParts[sample]!.positions, ...captionParts[sample]!.positions],
    })),
    { zeroRow: samples.length * (imageTokens + captionTokens), options },
  );
  return {
    tensors: { ...named('image', image), ...named('caption', caption), joined_rows: joined.rows },
    rotary: joined.rotary,
    mask: joined.mask,
    imageTokens,
  };
}

/**
 * Tokens [tokens, C] of all samples, one after the other: [Σ padded tokens, C]. Rows between them are never read, but keep the
 * shape, and with it the program, the same for prompts of about the same length.
 */
export function joinPadded(samples: readonly Tensor[]): Tensor {
  const [, width] = dims(samples[0]!, 2);
  const rows = padRowOf(samples.map((sample) => dims(sample, 2)[0]));
  const out = new Float32Array(rows * width);
  let start = 0;
  for (const sample of samples) {
    out.set(sample.f32, start * width);
    start += padded(dims(sample, 2)[0]);
  }
  return floatTensor(out, [rows, width]);
}

const padded = (count: number) => Math.ceil(count / MULTIPLE) * MULTIPLE;

/** The row behind all tokens of `joinPadded`, where the learned padding is put; zeros follow. */
const padRowOf = (counts: readonly number[]) => counts.reduce((sum, count) => sum + padded(count), 0);

function partsOf(counts: readonly number[], positions: (sample: number) => number[][]): Part[] {
  const padRow = padRowOf(counts);
  let start = 0;
  return counts.map((count, sample) => {
    const rows = Array.from({ length: padded(count) }, (_, i) => (i < count ? start + i : padRow));
    start += padded(count);
    return { rows, positions: positions(sample) };
  });
}

interface Batch {
  /** [B, S]. */
  rows: Tensor;
  rotary: RotaryTables;
  mask: KeyMask<Tensor>;
}

function batchOf(
  parts: readonly Part[],
  { zeroRow, options }: { zeroRow: number; options: RotaryTableOptions },
): Batch {
  const length = Math.max(...parts.map(({ rows }) => rows.length));
  const fill = <T>(values: readonly T[], filler: T) => [...values, ...Array<T>(length - values.length).fill(filler)];
  const tables = rotaryTables(
    parts.flatMap(({ positions }) => fill(positions, [0, 0, 0])),
    options,
  );
  const visible = parts.map(({ rows }) => fill(Array<boolean>(rows.length).fill(true), false));
  // Zeros in both tables: a token without a position has no direction either, and attends to all keys alike.
  const erased = (table: Tensor) => {
    const half = table.dim(2);
    const seen = visible.flat();
    const values = table.f32.map((value, i) => (seen[Math.floor(i / half)] ? value : 0));
    return floatTensor(values, [parts.length, length, half]);
  };
  return {
    rows: intTensor(
      parts.flatMap(({ rows }) => fill(rows, zeroRow)),
      [parts.length, length],
    ),
    rotary: { cos: erased(tables.cos), sin: erased(tables.sin) },
    mask: keyMask(visible),
  };
}

function named(part: string, { rows, rotary, mask }: Batch): Record<string, Tensor> {
  return {
    [`${part}_rows`]: rows,
    [`${part}_cos`]: rotary.cos,
    [`${part}_sin`]: rotary.sin,
    ...(mask.keys ? { [`${part}_keys`]: mask.keys } : {}),
    ...(mask.bias ? { [`${part}_bias`]: mask.bias } : {}),
  };
}
