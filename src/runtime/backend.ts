/**
 * All that the engine knows of the thing that executes graphs. Implementations: `ort-node/` (native ONNX Runtime),
 * `ort-web/` (WebAssembly), `worker/` (any of them in a thread of its own).
 *
 * Every tensor on a device has one owner, who disposes it: whoever receives it from `upload` or `run`, until it is handed on. A
 * tensor that is given to `run` is lent, and may be disposed as soon as `run` has been called. Two owners hold two handles
 * (`retain`), and the memory goes with the last. Whatever has been disposed is refused from then on, on every backend.
 */
import type { Graph } from '../graph/graph.ts';
import type { Kernels } from '../graph/lower/lower.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Shape, Tensor } from '../tensor/tensor.ts';

/** One owner's handle of a tensor where the backend computes: in host memory, on a GPU, or in another thread. */
export interface DeviceTensor {
  readonly dtype: DType;
  readonly shape: Shape;
  /** A further handle of the same memory, for a further owner. @throws DejaDitError DISPOSED */
  retain(): DeviceTensor;
  /** Gives this handle up; the memory is freed with the last one. Calling it again does nothing. */
  dispose(): void;
}

/** A compiled graph. It holds no weights: they are among the inputs of every run. */
export interface Executable {
  /**
   * Runs once. Inputs are named by the graph's inputs and weight slots, outputs by its declared output names. Inputs stay the
   * caller's, outputs become the caller's.
   * @throws DejaDitError DISPOSED if an input, the executable or the backend was disposed; RUNTIME if the run fails
   */
  run(inputs: Readonly<Record<string, DeviceTensor>>): Promise<Record<string, DeviceTensor>>;
  /** Frees it, once the runs under way have ended. */
  dispose(): Promise<void>;
}

/**
 * How 8-bit activations are multiplied with 8-bit weights: both unsigned, or weights signed. The second is up to twice as fast, where
 * it is exact.
 */
export const int8Products = ['u8s8', 'u8u8'] as const;
export type Int8Product = (typeof int8Products)[number];

/** For people. */
export function describeInt8Product(product: Int8Product): string {
  return product === 'u8s8' ? 'u8·s8, signed weights' : 'u8·u8, unsigned weights';
}

/**
 * How codes of 4 and 8 bits in blocks are multiplied: widened to integers or floats in the graph, or by one operator that takes them as
 * they are, which does not round activations.
 */
export type LowBitProduct = 'widened' | 'nbits';

/** What was found out about a backend when it was created, by trying. */
export interface BackendCapabilities extends Kernels {
  /** Whether it computes in float16. */
  readonly float16: boolean;
  /** Whether graphs can read bfloat16 and float8 from their bits. Otherwise weights are widened before they are uploaded. */
  readonly narrowFloats: boolean;
  /** Whether it computes with integers of 64 bits. Otherwise it only picks rows by them, and inputs of models come as 32 bits. */
  readonly wideIntegers: boolean;
  readonly lowBitProduct: LowBitProduct;
  /** Whether products of unsigned with signed 8-bit numbers are summed without loss. */
  readonly signedWeightsExact: boolean;
  /** The product that layers with int8 weights and activations use. */
  readonly int8Product: Int8Product;
}

/** What a backend holds for its users. All zero again once everybody has disposed what is theirs. */
export interface Live {
  /** Handles. */
  tensors: number;
  /** Of the memory behind them, counted once however many share it. */
  bytes: number;
  /** Executables. */
  programs: number;
}

/** What ranks have said to each other since they began, as one of them counts it. */
export interface RanksReport {
  /** `Ulysses2_TP2`. */
  readonly tag: string;
  readonly ranks: number;
  /** What carries the messages; undefined before the first. */
  readonly transport: string | undefined;
  /** By kind: how often, bytes that came from other ranks, and milliseconds from call to result. */
  readonly collectives: Readonly<Record<string, { calls: number; bytes: number; milliseconds: number }>>;
}

/** One of the calls that a step makes, a call for each guidance branch. */
export interface BranchCall {
  branch: string;
  /** Of the step, or, where it has one call because it goes without guidance, of the others. */
  branches: number;
  /** Of the call. */
  samples: number;
}

export interface Backend extends AsyncDisposable {
  /** For people: `cpu`, `wasm`, `cpu (worker thread)`. */
  readonly name: string;
  readonly capabilities: BackendCapabilities;
  readonly live: Readonly<Live>;
  /** Disposed, or lost with the thread it ran in: nothing can be computed on it any more. */
  readonly closed: boolean;
  /** Whether runs take tensors that are still in their files (`StoredTensor`). Default: not. */
  readonly takesStored?: boolean;
  /** Of a backend that is several ranks. */
  readonly ranksReport?: RanksReport | undefined;
  /** Of such a backend: the number that rank 0 gives, on all of them. For what is drawn at random, which all have to draw alike. */
  agree?(value: number): Promise<number>;
  /**
   * Of such a backend: where inputs of a call go, so that the branches of a step are computed side by side. What is computed from these inputs is
   * handed out before it is there.
   * @throws DejaDitError UNSUPPORTED if some ranks would have nothing to do
   */
  forBranch?(call: BranchCall): Pick<Backend, 'upload' | 'capabilities'>;
  /** @throws DejaDitError RUNTIME with the module path of the offending operator */
  compile(graph: Graph): Promise<Executable>;
  /**
   * Brings a host tensor to the device. A CPU backend uses the tensor's memory in place; with `transfer` the caller gives
   * the memory up, so that a backend in another thread need not copy it.
   */
  upload(tensor: Tensor, options?: { transfer?: boolean }): DeviceTensor;
  /**
   * A tensor's values. A CPU backend hands out the memory they are in, which is the caller's then; with `copy` the values are
   * copied, and the memory goes with its last handle.
   */
  download(tensor: DeviceTensor, options?: { copy?: boolean }): Promise<Tensor>;
  /** Frees all programs. Whatever is under way ends, at the latest with its current run, as DISPOSED. */
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
  /**
   * How int8 layers multiply. Default: `u8s8` where a trial at creation finds it exact, else `u8u8`, which is exact everywhere. Forcing
   * `u8s8` where it is not gives wrong results, and a warning.
   */
  int8Product?: Int8Product;
}
