/**
 * What native and WebAssembly ONNX Runtime have in common: sessions made from our graphs, tensors in host memory.
 * The two packages expose the same `InferenceSession` and `Tensor`; which one is used is decided in `ort-node/` and `ort-web/`.
 */
import type { InferenceSession, Tensor as OrtTensor, TensorConstructor } from 'onnxruntime-common';
import { DejaDitError } from '../../errors/errors.ts';
import { encodeOnnx } from '../../graph/encode.ts';
import type { Graph } from '../../graph/graph.ts';
import type { DType } from '../../tensor/dtype.ts';
import { type Shape, Tensor } from '../../tensor/tensor.ts';
import type { Backend, DeviceTensor, Executable } from '../backend.ts';

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
}

class HostTensor implements DeviceTensor {
  constructor(
    readonly dtype: DType,
    readonly shape: Shape,
    readonly ort: OrtTensor,
  ) {}

  dispose(): void {}
}

export class OrtBackend implements Backend {
  readonly name: string;
  private readonly options: OrtBackendOptions;
  private readonly executables = new Set<OrtExecutable>();
  private queue: Promise<unknown> = Promise.resolve();

  constructor(options: OrtBackendOptions) {
    this.name = options.name;
    this.options = options;
  }

  async compile(graph: Graph): Promise<Executable> {
    const { ort, sessionOptions } = this.options;
    const model = encodeOnnx(graph, { nodeNames: true });
    const session = await this.exclusive(async () => {
      try {
        // A memory pattern, made in the first run, is a second block beside the memory which that run has left in the arena.
        return await ort.InferenceSession.create(model, { ...sessionOptions, enableMemPattern: false });
      } catch (cause) {
        throw new DejaDitError('RUNTIME', `ONNX Runtime rejects the graph: ${firstLine(cause)}`, { cause });
      }
    });
    const executable = new OrtExecutable(graph, session, this);
    this.executables.add(executable);
    return executable;
  }

  upload(tensor: Tensor): DeviceTensor {
    return this.wrap(tensor.dtype, tensor.data, tensor.shape);
  }

  async download(tensor: DeviceTensor): Promise<Tensor> {
    const { dtype, shape, ort } = tensor as HostTensor;
    return new Tensor(dtype, ort.data as Tensor['data'], shape);
  }

  async dispose(): Promise<void> {
    await Promise.all([...this.executables].map((executable) => executable.dispose()));
  }

  wrap(dtype: DType, data: Tensor['data'], shape: Shape): HostTensor {
    // bfloat16 and float8 cannot cross the boundary; graphs take their bits as unsigned integers of the same width.
    const carrier = dtype === 'bfloat16' ? 'uint16' : dtype.startsWith('float8') ? 'uint8' : dtype;
    const Constructor = this.options.ort.Tensor as new (type: string, data: Tensor['data'], dims: Shape) => OrtTensor;
    return new HostTensor(dtype, shape, new Constructor(carrier, data, shape));
  }

  /** Runs `work` alone if this backend must not overlap calls. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    if (!this.options.serialize) return work();
    const result = this.queue.then(work);
    this.queue = result.catch(() => undefined);
    return result;
  }

  forget(executable: OrtExecutable): void {
    this.executables.delete(executable);
  }
}

class OrtExecutable implements Executable {
  private session: InferenceSession | undefined;
  private readonly values: readonly string[];

  constructor(
    private readonly graph: Graph,
    session: InferenceSession,
    private readonly backend: OrtBackend,
  ) {
    this.session = session;
    this.values = [...graph.outputs.values()].map(({ value }) => value);
  }

  async run(inputs: Readonly<Record<string, DeviceTensor>>): Promise<Record<string, DeviceTensor>> {
    const { session, graph, backend } = this;
    if (!session) throw new DejaDitError('DISPOSED', 'this program was disposed');
    const feeds: Record<string, OrtTensor> = {};
    for (const name of graph.inputs.keys()) feeds[name] = take(inputs, name);
    for (const { slot } of graph.weights) feeds[slot] = take(inputs, slot);
    const results = await backend.exclusive(async () => {
      try {
        return await session.run(feeds, this.values);
      } catch (cause) {
        throw new DejaDitError('RUNTIME', `ONNX Runtime failed: ${firstLine(cause)}`, { cause });
      }
    });
    const outputs: Record<string, DeviceTensor> = {};
    for (const [name, { value, dtype, shape }] of graph.outputs)
      outputs[name] = new HostTensor(dtype, shape, results[value] as OrtTensor);
    return outputs;
  }

  async dispose(): Promise<void> {
    const { session } = this;
    this.session = undefined;
    this.backend.forget(this);
    await session?.release();
  }
}

function take(inputs: Readonly<Record<string, DeviceTensor>>, name: string): OrtTensor {
  const tensor = inputs[name];
  if (!tensor) throw new DejaDitError('INVALID_ARGUMENT', `the program's input '${name}' is missing`);
  return (tensor as HostTensor).ort;
}

function firstLine(cause: unknown): string {
  return (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!;
}
