/** The two ends of a worker backend, and what they say to each other. Tensors on the worker's side are known by number. */
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

/** A thread that serves a backend, as its user sees it: `openThread` in `thread.ts`, in pages in `thread.web.ts`. */
export interface Thread {
  post(request: Request, transfer: ArrayBuffer[]): void;
  /** Whether a process has to wait for it: an idle engine must not keep one alive, a pending call does. */
  hold(pending: boolean): void;
  /** Ends it after the call that it is serving. */
  end(): Promise<void>;
}

export interface ThreadEvents {
  onReply(reply: Reply): void;
  /** @param how what happened to the thread, as in `ended with code 1` */
  onLost(how: string, cause?: unknown): void;
}
