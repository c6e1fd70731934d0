/** What the two ends of a worker backend say to each other. Tensors on the worker's side are known by number. */
import type { ErrorCode } from '../../errors/errors.ts';
import type { Graph } from '../../graph/graph.ts';
import type { DType, TypedArray } from '../../tensor/dtype.ts';
import type { Shape } from '../../tensor/tensor.ts';
import type { BackendCapabilities } from '../backend.ts';

export interface RemoteTensor {
  handle: number;
  dtype: DType;
  shape: Shape;
}

export interface Calls {
  capabilities: { arguments: Record<string, never>; result: BackendCapabilities };
  compile: { arguments: { graph: Graph }; result: { executable: number } };
  run: { arguments: { executable: number; inputs: Record<string, number> }; result: Record<string, RemoteTensor> };
  release: { arguments: { executable: number }; result: undefined };
  upload: { arguments: { handle: number; dtype: DType; shape: Shape; data: TypedArray }; result: undefined };
  download: { arguments: { handle: number }; result: { data: TypedArray } };
}

export type CallName = keyof Calls;

/** Without a content: look whether you shall end. */
export type Request =
  | { [Name in CallName]: { id: number; call: Name; arguments: Calls[Name]['arguments'] } }[CallName]
  | { free: number }
  | undefined;

export interface Reply {
  id: number;
  result?: Calls[CallName]['result'];
  error?: { code: ErrorCode; message: string };
}
