/**
 * All that the engine knows of the thing that executes graphs. Implementations: `ort-node/` (native ONNX Runtime),
 * `ort-web/` (WebAssembly), `worker/` (any of them in a thread of its own).
 */
import type { Graph } from '../graph/graph.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Shape, Tensor } from '../tensor/tensor.ts';

/** A tensor where the backend computes: host memory for CPU backends, a GPU buffer or another thread's memory elsewhere. */
export interface DeviceTensor {
  readonly dtype: DType;
  readonly shape: Shape;
  /** Frees device memory now. Host-memory tensors are garbage collected and need no call. */
  dispose(): void;
}

/** A compiled graph. It holds no weights: they are among the inputs of every run. */
export interface Executable {
  /** Runs once. Inputs are named by the graph's inputs and weight slots, outputs by its declared output names. */
  run(inputs: Readonly<Record<string, DeviceTensor>>): Promise<Record<string, DeviceTensor>>;
  dispose(): Promise<void>;
}

export interface Backend {
  /** For people: `cpu`, `wasm`, `cpu (worker thread)`. */
  readonly name: string;
  /** @throws DejaDitError RUNTIME with the module path of the offending operator */
  compile(graph: Graph): Promise<Executable>;
  /**
   * Brings a host tensor to the device. A CPU backend uses the tensor's memory in place; with `transfer` the caller gives
   * the memory up, so that a backend in another thread need not copy it.
   */
  upload(tensor: Tensor, options?: { transfer?: boolean }): DeviceTensor;
  download(tensor: DeviceTensor): Promise<Tensor>;
  dispose(): Promise<void>;
}

export interface BackendOptions {
  /** Threads within an operator. Default: physical cores, at most 16. */
  threads?: number;
  /**
   * Threads wait for work in a busy loop. A little faster where a single program runs alone on an idle machine, several times
   * slower where anything else wants the cores. Default false.
   */
  spinning?: boolean;
}
