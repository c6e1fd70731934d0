/** What is known of a weight without its data. */
import type { DType } from '../tensor/dtype.ts';
import type { Shape } from '../tensor/tensor.ts';
import type { WeightFormat } from './formats/weight-format.ts';

export interface WeightInfo {
  /** As it is stored, or fed to graphs, which may be narrower than what layers compute in. */
  readonly dtype: DType;
  readonly shape: Shape;
  /** How the weight is quantised: its tensors are then the format's parts, and `dtype` is what they stand for. */
  readonly format?: WeightFormat | undefined;
}

/** A weight in its file. */
export interface StoredWeightInfo extends WeightInfo {
  /** Size of the stored data. */
  readonly bytes: number;
  /** How it lies in the file, where that is not how it is read: `nf4`, and in how many bytes. */
  readonly stored?: { readonly type: string; readonly bytes: number } | undefined;
  /** The file it is in; `memory` for tensors that are in none. */
  readonly file: string;
  /** What the bytes stand for where they are no numbers: blocks of GGUF, or 4-bit codes of bitsandbytes, with a `shape` of rows and bytes. */
  readonly encoded?: EncodedInfo | undefined;
}

export interface EncodedInfo {
  readonly type: string;
  readonly shape: Shape;
  /** The weight of the file whose rows these are, from which one on: for what the file has of that one in other tensors. */
  readonly within?: { readonly weight: string; readonly row: number } | undefined;
}
