/**
 * What native and WebAssembly ONNX Runtime have in common: sessions made from our graphs, lowered to what the device can do. The two
 * packages expose the same `InferenceSession` and `Tensor`; which one is used, and where its tensors are, is decided in `ort-node/` and
 * `ort-web/`.
 */
import type { InferenceSession, TensorConstructor } from 'onnxruntime-common';
import { DejaDitError } from '../../errors/errors.ts';
import { encodeOnnx } from '../../graph/encode.ts';
import type { Graph } from '../../graph/graph.ts';
import { lower } from '../../graph/lower/lower.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { Backend, BackendCapabilities, DeviceTensor, Executable, Live } from '../backend.ts';
import { TensorTable } from '../tensor-table.ts';
import type { Trial } from '../trials/trial.ts';
import { hostPlace } from './host-memory.ts';
import { SharedSession } from './shared-session.ts';
import type { Call, TensorMemory, TensorPlace } from './tensor-memory.ts';

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
  /** WebAssembly sessions share one heap, sessions on a GPU one device: neither creations nor runs may overlap. */
  serialize: boolean;
  /** Where tensors are kept. Default: in host memory. */
  place?: (call: Call) => TensorPlace;
  /** Finds out by trying, on the backend as it is before anything is lowered. */
  findCapabilities(backend: Trial): Promise<BackendCapabilities>;
}

export class OrtBackend implements Backend {
  readonly name: string;
  closed = false;
  readonly tensors = new TensorTable<TensorMemory>((memory) => memory.free());
  readonly place: TensorPlace;
  private readonly options: OrtBackendOptions;
  private readonly executables = new Set<OrtExecutable>();
  private found: BackendCapabilities | undefined;
  /** Calls of ONNX Runtime that have not returned. */
  private readonly underway = new Set<Promise<unknown>>();
  private queue: Promise<unknown> = Promise.resolve();

  private constructor(options: OrtBackendOptions) {
    this.name = options.name;
    this.options = options;
    const { place = () => hostPlace(options.ort) } = options;
    this.place = place(this.call);
  }

  static async create(options: OrtBackendOptions): Promise<OrtBackend> {
    const backend = new OrtBackend(options);
    try {
      backend.found = await options.findCapabilities(backend);
      return backend;
    } catch (error) {
      await backend.dispose();
      throw error;
    }
  }

  get capabilities(): BackendCapabilities {
    return this.found!;
  }

  get live(): Live {
    return { tensors: this.tensors.tensors, bytes: this.tensors.bytes, programs: this.executables.size };
  }

  async compile(given: Graph): Promise<Executable> {
    const { ort, sessionOptions } = this.options;
    const graph = this.found ? lower(given, this.found) : given;
    const model = encodeOnnx(graph, { nodeNames: true });
    return this.call(async () => {
      this.assertOpen();
      try {
        // A memory pattern, made in the first run, is a second block beside the memory which that run has left in the arena.
        const session = await ort.InferenceSession.create(model, {
          ...sessionOptions,
          ...this.place.sessionOptions,
          enableMemPattern: false,
        });
        const executable = new OrtExecutable(graph, new SharedSession(session, this.call), this);
        this.executables.add(executable);
        return executable;
      } catch (cause) {
        throw new DejaDitError('RUNTIME', `ONNX Runtime rejects the graph: ${rejection(cause, graph)}`, { cause });
      }
    });
  }

  upload(tensor: Tensor, { transfer = false }: { transfer?: boolean } = {}): DeviceTensor {
    this.assertOpen();
    const own = transfer && tensor.data.byteLength === tensor.data.buffer.byteLength;
    return this.tensors.adopt(this.place.upload(tensor, own), tensor);
  }

  async download(tensor: DeviceTensor, { copy = false }: { copy?: boolean } = {}): Promise<Tensor> {
    return this.tensors.holding([tensor], async ([memory]) => {
      this.assertOpen();
      return new Tensor(tensor.dtype, await memory!.read(copy), tensor.shape);
    });
  }

  async dispose(): Promise<void> {
    this.closed = true;
    while (this.underway.size > 0) await Promise.allSettled(this.underway);
    await Promise.all([...this.executables].map((executable) => executable.dispose()));
    await this.place.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Calls ONNX Runtime, alone if this backend must not overlap calls. */
  readonly call: Call = (work) => {
    const result = this.options.serialize ? this.queue.then(work) : work();
    const settled = result.catch(() => undefined).finally(() => this.underway.delete(settled));
    this.underway.add(settled);
    if (this.options.serialize) this.queue = settled;
    return result;
  };

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
    private readonly shared: SharedSession,
    private readonly backend: OrtBackend,
  ) {
    this.values = [...graph.outputs.values()].map(({ value }) => value);
  }

  async run(inputs: Readonly<Record<string, DeviceTensor>>): Promise<Record<string, DeviceTensor>> {
    const { shared, graph, backend } = this;
    backend.assertOpen();
    if (this.disposal) throw new DejaDitError('DISPOSED', 'this program was disposed');
    const names = [...graph.inputs.keys(), ...graph.weights.map(({ slot }) => slot)];
    const run = backend.tensors.holding(
      names.map((name) => take(inputs, name)),
      (memory) =>
        backend.call(async () => {
          backend.assertOpen();
          try {
            const feeds = Object.fromEntries(
              await Promise.all(memory.map(async (held, i) => [names[i]!, await held.ort()] as const)),
            );
            return await shared.session.run(feeds, this.values);
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
        outputs[name] = backend.tensors.adopt(backend.place.adopt(results[value]!, shared), { dtype, shape });
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
    await this.shared.drop();
  }
}

function take(inputs: Readonly<Record<string, DeviceTensor>>, name: string): DeviceTensor {
  const tensor = inputs[name];
  if (!tensor) throw new DejaDitError('INVALID_ARGUMENT', `the program's input '${name}' is missing`);
  return tensor;
}

function rejection(cause: unknown, { nodes }: Graph): string {
  const reason = firstLine(cause);
  // It does not say which.
  if (!reason.includes('fallback to CPU EP')) return reason;
  return `the device has no kernel for one of ${[...new Set(nodes.map(({ op }) => op))].join(', ')}`;
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!;
}
