/**
 * What native and WebAssembly ONNX Runtime have in common: sessions made from our graphs, tensors in host memory.
 * The two packages expose the same `InferenceSession` and `Tensor`; which one is used is decided in `ort-node/` and `ort-web/`.
 */
import type { InferenceSession, Tensor as OrtTensor, TensorConstructor } from 'onnxruntime-common';
import { DejaDitError } from '../../errors/errors.ts';
import { encodeOnnx } from '../../graph/encode.ts';
import type { Graph } from '../../graph/graph.ts';
import { type Shape, Tensor } from '../../tensor/tensor.ts';
import type { Backend, BackendCapabilities, BackendOptions, DeviceTensor, Executable, Live } from '../backend.ts';
import { findCapabilities } from '../capabilities.ts';
import { TensorTable } from '../tensor-table.ts';
import { freeMemory } from './free-memory.ts';

/** The part of `onnxruntime-node` / `onnxruntime-web` that we use. */
export interface OrtModule {
  readonly InferenceSession: {
    create(model: Uint8Array, options: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  readonly Tensor: TensorConstructor;
}

export interface OrtBackendOptions {
  name: string;
  ort: OrtModule;
  sessionOptions: InferenceSession.SessionOptions;
  /** WebAssembly sessions share one heap: neither creations nor runs may overlap. */
  serialize: boolean;
  int8Product: BackendOptions['int8Product'];
}

interface HostMemory {
  readonly ort: OrtTensor;
  /** Whether nobody else can see it: it came from a run or was given up by its owner, and no download has handed it out. */
  own: boolean;
}

export class OrtBackend implements Backend {
  readonly name: string;
  closed = false;
  readonly tensors = new TensorTable<HostMemory>(({ ort, own }) => {
    if (own) freeMemory(ort.data as Tensor['data']);
  });
  private readonly options: OrtBackendOptions;
  private readonly executables = new Set<OrtExecutable>();
  private found: BackendCapabilities | undefined;
  /** Calls of ONNX Runtime that have not returned. */
  private readonly underway = new Set<Promise<unknown>>();
  private queue: Promise<unknown> = Promise.resolve();

  private constructor(options: OrtBackendOptions) {
    this.name = options.name;
    this.options = options;
  }

  static async create(options: OrtBackendOptions): Promise<OrtBackend> {
    const backend = new OrtBackend(options);
    backend.found = await findCapabilities(backend, options.int8Product);
    return backend;
  }

  get capabilities(): BackendCapabilities {
    return this.found!;
  }

  get live(): Live {
    return { tensors: this.tensors.tensors, bytes: this.tensors.bytes, programs: this.executables.size };
  }

  async compile(graph: Graph): Promise<Executable> {
    const { ort, sessionOptions } = this.options;
    const model = encodeOnnx(graph, { nodeNames: true });
    return this.exclusive(async () => {
      this.assertOpen();
      try {
        // A memory pattern, made in the first run, is a second block beside the memory which that run has left in the arena.
        const session = await ort.InferenceSession.create(model, { ...sessionOptions, enableMemPattern: false });
        const executable = new OrtExecutable(graph, session, this);
        this.executables.add(executable);
        return executable;
      } catch (cause) {
        throw new DejaDitError('RUNTIME', `ONNX Runtime rejects the graph: ${firstLine(cause)}`, { cause });
      }
    });
  }

  upload({ dtype, data, shape }: Tensor, { transfer = false }: { transfer?: boolean } = {}): DeviceTensor {
    this.assertOpen();
    const own = transfer && data.byteLength === data.buffer.byteLength;
    // bfloat16 and float8 cannot cross the boundary; graphs take their bits as unsigned integers of the same width.
    const carrier = dtype === 'bfloat16' ? 'uint16' : dtype.startsWith('float8') ? 'uint8' : dtype;
    const Constructor = this.options.ort.Tensor as new (type: string, data: Tensor['data'], dims: Shape) => OrtTensor;
    return this.tensors.adopt({ ort: new Constructor(carrier, data, shape), own }, { dtype, shape });
  }

  async download(tensor: DeviceTensor, { copy = false }: { copy?: boolean } = {}): Promise<Tensor> {
    const memory = this.tensors.memoryOf(tensor);
    this.assertOpen();
    const data = memory.ort.data as Tensor['data'];
    if (!copy) memory.own = false;
    return new Tensor(tensor.dtype, copy ? data.slice() : data, tensor.shape);
  }

  async dispose(): Promise<void> {
    this.closed = true;
    while (this.underway.size > 0) await Promise.allSettled(this.underway);
    await Promise.all([...this.executables].map((executable) => executable.dispose()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Calls ONNX Runtime, alone if this backend must not overlap calls. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.options.serialize ? this.queue.then(work) : work();
    const settled = result.catch(() => undefined).finally(() => this.underway.delete(settled));
    this.underway.add(settled);
    if (this.options.serialize) this.queue = settled;
    return result;
  }

  assertOpen(): void {
    if (this.closed) throw new DejaDitError('DISPOSED', `the backend '${this.name}' was disposed`);
  }

  forget(executable: OrtExecutable): void {
    this.executables.delete(executable);
  }
}

class OrtExecutable implements Executable {
  private readonly values: readonly string[];
  private readonly runs = new Set<Promise<unknown>>();
  private disposal: Promise<void> | undefined;

  constructor(
    private readonly graph: Graph,
    private readonly session: InferenceSession,
    private readonly backend: OrtBackend,
  ) {
    this.values = [...graph.outputs.values()].map(({ value }) => value);
  }

  async run(inputs: Readonly<Record<string, DeviceTensor>>): Promise<Record<string, DeviceTensor>> {
    const { session, graph, backend } = this;
    backend.assertOpen();
    if (this.disposal) throw new DejaDitError('DISPOSED', 'this program was disposed');
    const names = [...graph.inputs.keys(), ...graph.weights.map(({ slot }) => slot)];
    const run = backend.tensors.holding(
      names.map((name) => take(inputs, name)),
      (memory) =>
        backend.exclusive(async () => {
          backend.assertOpen();
          const feeds = Object.fromEntries(memory.map(({ ort }, i) => [names[i]!, ort]));
          try {
            return await session.run(feeds, this.values);
          } catch (cause) {
            throw new DejaDitError('RUNTIME', `ONNX Runtime failed: ${firstLine(cause)}`, { cause });
          }
        }),
    );
    this.runs.add(run);
    try {
      const results = await run;
      const outputs: Record<string, DeviceTensor> = {};
      for (const [name, { value, dtype, shape }] of graph.outputs)
        outputs[name] = backend.tensors.adopt({ ort: results[value] as OrtTensor, own: true }, { dtype, shape });
      return outputs;
    } finally {
      this.runs.delete(run);
    }
  }

  dispose(): Promise<void> {
    this.disposal ??= this.release();
    return this.disposal;
  }

  private async release(): Promise<void> {
    await Promise.allSettled(this.runs);
    this.backend.forget(this);
    await this.backend.exclusive(() => this.session.release());
  }
}

function take(inputs: Readonly<Record<string, DeviceTensor>>, name: string): DeviceTensor {
  const tensor = inputs[name];
  if (!tensor) throw new DejaDitError('INVALID_ARGUMENT', `the program's input '${name}' is missing`);
  return tensor;
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!;
}
