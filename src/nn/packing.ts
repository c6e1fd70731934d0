/**
 * Sequences of two parts of which the first differs in length from sample to sample (a caption), the second does not (an image).
 * The second follows the first without a gap, and padding comes last: [first, second, zeros].
 */
import { gather, pad } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { intTensor, type Tensor } from '../tensor/tensor.ts';
import { type KeyMask, keyMask } from './attention/attention-mask.ts';

export interface PackingSizes {
  /** Tokens each sample keeps of its first part. */
  kept: readonly number[];
  /** Tokens of the first part with padding. */
  first: number;
  second: number;
}

export interface Packing {
  /** Tokens of the longest packed sample. */
  length: number;
  /** Graph inputs; none if all samples keep all of their first part, which needs no packing. */
  tensors: {
    /** [B, length], the source of every token: rows of the unpacked samples, each with a row of zeros at its end. */
    packed_rows?: Tensor;
    /** [B, second], where the second part lies among the rows of all packed samples. */
    second_rows?: Tensor;
  };
  /** Hides the padding from attention. */
  mask: KeyMask<Tensor>;
}

/** Plans the packing on the host. */
export function packingOf({ kept, first, second }: PackingSizes): Packing {
  const length = Math.max(...kept) + second;
  if (kept.every((count) => count === first)) return { length, tensors: {}, mask: {} };
  const tokens = Array.from({ length }, (_, token) => token);
  const zeroRow = first + second;
  const rows = kept.flatMap((count, sample) => {
    const source = (token: number) => {
      if (token < count) return token;
      return token < count + second ? token - count + first : zeroRow;
    };
    return tokens.map((token) => sample * (zeroRow + 1) + source(token));
  });
  const secondRows = kept.flatMap((count, sample) =>
    tokens.slice(0, second).map((token) => sample * length + count + token),
  );
  return {
    length,
    tensors: {
      packed_rows: intTensor(rows, [kept.length, length]),
      second_rows: intTensor(secondRows, [kept.length, second]),
    },
    mask: keyMask(kept.map((count) => tokens.map((token) => token < count + second))),
  };
}

/** Moves the parts of x [B, first + second, D] together: [B, length, D]. */
export function packSequences(x: SymbolicTensor, packedRows: SymbolicTensor | undefined): SymbolicTensor {
  if (!packedRows) return x;
  return gather(pad(x, [0, 0, 0, 0, 1, 0]).reshape([-1, x.dim(-1)]), packedRows);
}

/** The second part of packed sequences: [B, second, D]. */
export function unpackSecond(
  x: SymbolicTensor,
  second: number,
  secondRows: SymbolicTensor | undefined,
): SymbolicTensor {
  return secondRows ? gather(x.reshape([-1, x.dim(-1)]), secondRows) : x.slice(1, x.dim(1) - second);
}
