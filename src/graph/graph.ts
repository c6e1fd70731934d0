/**
 * A graph as plain data: what a `GraphBuilder` produces, what a backend compiles. It holds no weights, only their places.
 */
import type { DType } from '../tensor/dtype.ts';
import type { Shape, Tensor } from '../tensor/tensor.ts';

export interface ValueSpec {
  readonly dtype: DType;
  readonly shape: Shape;
}

export type AttributeValue = number | string | readonly number[] | { readonly float: number };

export interface GraphNode {
  readonly op: string;
  /** '' is the ONNX domain; `com.microsoft` holds ONNX Runtime's own operators, `collective` exchanges between ranks. */
  readonly domain: string;
  /** Value names; '' stands for an optional input that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Of each output. */
  readonly specs: readonly ValueSpec[];
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  /** Module path of the layer that emitted it, for error messages and profiles. */
  readonly path: string;
}

/** A weight that the graph needs: `slot` is the graph's input name, `name` the tensor in the checkpoint. */
export interface WeightSlot extends ValueSpec {
  readonly slot: string;
  readonly name: string;
}

export interface Graph {
  readonly inputs: ReadonlyMap<string, ValueSpec>;
  readonly weights: readonly WeightSlot[];
  readonly constants: ReadonlyMap<string, Tensor>;
  readonly nodes: readonly GraphNode[];
  /** Floating-point operations of one run, matrix products and convolutions only (a multiply-add counts as two). */
  readonly flops: number;
  /** Output name → value name, in declared order. No two outputs are one value. */
  readonly outputs: ReadonlyMap<string, ValueSpec & { readonly value: string }>;
  /** What a model calls some of the values. */
  readonly named?: ReadonlyMap<string, string>;
}
