/**
 * All-to-all in 8 bits: rows of numbers travel as float8 (e4m3) beside a float32 scale each, so that the largest of a row is the type's largest
 * number. What a rank has for itself does not travel and stays as it is. Processors have no operator of ONNX Runtime that makes such
 * bytes, so it is done here, on the way to the transport.
 */
import { fromFloat32, toFloat32 } from '../../tensor/convert.ts';
import type { DType, TypedArray } from '../../tensor/dtype.ts';
import { bytesOf, cut } from './arrays.ts';
import type { CallOptions, Collective } from './collective.ts';

export interface Float8AllToAll {
  send: TypedArray;
  receive: TypedArray;
  /** Of the numbers: float32, or narrower floats, which are widened and rounded. */
  dtype: DType;
  /**
   * What each rank's part consists of, one after the other: numbers in rows of that length, each with a scale; or, where it is 0, numbers
   * that travel as they are.
   */
  rows: readonly number[];
  /** Elements of each of these, for rank after rank, and from rank after rank. */
  sendRuns: readonly number[];
  receiveRuns: readonly number[];
}

export async function allToAllFloat8(
  group: Pick<Collective, 'rank' | 'allToAll'>,
  { send, receive, dtype, rows, sendRuns, receiveRuns }: Float8AllToAll,
  options?: CallOptions,
): Promise<void> {
  const outgoing = cut(send, sendRuns);
  const incoming = cut(receive, receiveRuns);
  const kinds = rows.length;
  const isOwn = (run: number) => Math.floor(run / kinds) === group.rank;
  const rowOf = (run: number) => rows[run % kinds]!;
  const sizesOf = (runs: readonly TypedArray[]) =>
    runs.map((values, run) => (isOwn(run) ? 0 : encodedBytes(values, rowOf(run))));
  const [sent, expected] = [sizesOf(outgoing), sizesOf(incoming)];
  const bytes = new Uint8Array(sum(sent));
  for (const [run, part] of cut(bytes, sent).entries())
    if (!isOwn(run)) encode(outgoing[run]!, part, { dtype, row: rowOf(run) });
  const arrived = new Uint8Array(sum(expected));
  const perRank = (sizes: readonly number[]) =>
    Array.from({ length: sizes.length / kinds }, (_, rank) => sum(sizes.slice(rank * kinds, (rank + 1) * kinds)));
  await group.allToAll(
    { send: bytes, receive: arrived, sendCounts: perRank(sent), receiveCounts: perRank(expected) },
    options,
  );
  for (const [run, part] of cut(arrived, expected).entries()) {
    if (isOwn(run)) bytesOf(incoming[run]!).set(bytesOf(outgoing[run]!));
    else decode(part, incoming[run]!, { dtype, row: rowOf(run) });
  }
}

interface Encoding {
  dtype: DType;
  row: number;
}

/** Scales first, then a byte for each number. */
function encodedBytes({ length, byteLength }: TypedArray, row: number): number {
  return row === 0 ? byteLength : 4 * (length / row) + length;
}

function encode(values: TypedArray, bytes: Uint8Array, { dtype, row }: Encoding): void {
  if (row === 0) bytes.set(bytesOf(values));
  else {
    const scales = new Float32Array(values.length / row);
    encodeRows({ values: toFloat32(dtype, values), row, scales, codes: bytes.subarray(scales.byteLength) });
    bytes.set(bytesOf(scales));
  }
}

function decode(bytes: Uint8Array, values: TypedArray, { dtype, row }: Encoding): void {
  if (row === 0) bytesOf(values).set(bytes);
  else {
    const scales = new Float32Array(values.length / row);
    bytesOf(scales).set(bytes.subarray(0, scales.byteLength));
    const wide = dtype === 'float32' ? (values as Float32Array) : new Float32Array(values.length);
    decodeRows({ values: wide, row, scales, codes: bytes.subarray(scales.byteLength) });
    if (wide !== values) bytesOf(values).set(bytesOf(fromFloat32(dtype, wide)));
  }
}

/** The largest number of the type. */
const largestCode = 448;

export interface Rows {
  values: Float32Array;
  /** Length of a row. */
  row: number;
  /** One for each row. */
  scales: Float32Array;
  codes: Uint8Array;
}

/**
 * Rounds rows to float8, each divided by its scale, which is its largest magnitude over 448. NaN stays what it is, and a row with an infinity
 * is NaN.
 * @param rows `scales` and `codes` are filled in
 */
export function encodeRows({ values, row, scales, codes }: Rows): void {
  const table = codeTable();
  const scaled = new Float32Array(row);
  const bits = new Uint32Array(scaled.buffer);
  for (let r = 0, start = 0; r < scales.length; r++, start += row) {
    let largest = 0;
    for (let i = 0; i < row; i++) {
      const magnitude = Math.abs(values[start + i]!);
      if (magnitude > largest) largest = magnitude;
    }
    const scale = Math.fround(largest / largestCode);
    scales[r] = scale;
    const factor = scale === 0 ? 0 : 1 / scale;
    for (let i = 0; i < row; i++) scaled[i] = values[start + i]! * factor;
    for (let i = 0; i < row; i++) {
      const word = bits[i]!;
      codes[start + i] = table[(word >>> 16) | ((word & 0xffff) === 0 ? 0 : 1)]!;
    }
  }
}

/** @param rows `values` are filled in with the numbers that the codes stand for */
export function decodeRows({ values, row, scales, codes }: Rows): void {
  const table = numberTable();
  for (let r = 0, start = 0; r < scales.length; r++, start += row) {
    const scale = scales[r]!;
    for (let i = start; i < start + row; i++) values[i] = table[codes[i]!]! * scale;
  }
}

let allCodes: Uint8Array | undefined;
let allNumbers: Float32Array | undefined;

/**
 * Codes by the upper half of a float32, the lowest bit of which is set if anything of the lower half is ("rounded to odd"): with more than
 * two bits to spare, rounding that to the nearest is rounding the whole number to the nearest.
 */
function codeTable(): Uint8Array {
  allCodes ??= fromFloat32(
    'float8_e4m3fn',
    new Float32Array(Uint32Array.from({ length: 2 ** 16 }, (_, upper) => upper << 16).buffer),
  ) as Uint8Array;
  return allCodes;
}

function numberTable(): Float32Array {
  allNumbers ??= toFloat32(
    'float8_e4m3fn',
    Uint8Array.from({ length: 256 }, (_, code) => code),
  );
  return allNumbers;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
