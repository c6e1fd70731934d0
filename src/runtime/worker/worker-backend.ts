/**
 * Any backend in a thread of its own, behind the same interface. A run of ONNX Runtime blocks the thread that called it, so a
 * server computes here and keeps its own thread for requests.
 */
import { openThread } from '#runtime/worker/thread';
import { DejaDitError } from '../../errors/errors.ts';
import type { Graph } from '../../graph/graph.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { Backend, BackendCapabilities, DeviceTensor, Executable, Live } from '../backend.ts';
import type { OpenBackendOptions } from '../create-backend.ts';
import { TensorTable } from '../tensor-table.ts';
import type { CallName, Calls, Reply, Request, Thread } from './messages.ts';

interface Pending {
  resolve(result: never): void;
  reject(error: Error): void;
}

export class WorkerBackend implements Backend {
  readonly name: string;
  private readonly thread: Thread;
  private readonly pending = new Map<number, Pending>();
  /** Handles here are counted here; the other side holds one of each. */
  private readonly tensors = new TensorTable<number>((handle) => this.send({ free: handle }));
  private readonly executables = new Set<number>();
  private nextId = 1;
  /** Why nothing can be computed any more. */
  private failure: DejaDitError | undefined;
  private found: BackendCapabilities | undefined;

  private constructor(options: OpenBackendOptions) {
    this.name = `${options.backend} (worker thread)`;
    this.thread = openThread(options, {
      onReply: (reply) => this.settle(reply),
      onLost: (how, cause) => this.fail(lost(how, cause)),
    });
  }

  get live(): Live {
    return { tensors: this.tensors.tensors, bytes: this.tensors.bytes, programs: this.executables.size };
  }

  get closed(): boolean {
    return this.failure !== undefined;
  }

  /** @throws DejaDitError what creating the backend throws in its thread */
  static async create(options: OpenBackendOptions): Promise<WorkerBackend> {
    const backend = new WorkerBackend(options);
    try {
      backend.found = await backend.call('capabilities', {});
      return backend;
    } catch (error) {
      await backend.thread.end();
      throw error;
    }
  }

  get capabilities(): BackendCapabilities {
    return this.found!;
  }

  async compile(graph: Graph): Promise<Executable> {
    const { executable } = await this.call('compile', { graph });
    this.executables.add(executable);
    return {
      run: async (inputs) => {
        if (!this.failure && !this.executables.has(executable))
          throw new DejaDitError('DISPOSED', 'this program was disposed');
        const handles = Object.fromEntries(
          Object.entries(inputs).map(([name, tensor]) => [name, this.tensors.memoryOf(tensor)]),
        );
        const outputs = await this.call('run', { executable, inputs: handles });
        return Object.fromEntries(
          Object.entries(outputs).map(([name, tensor]) => [name, this.tensors.adopt(tensor.handle, tensor)]),
        );
      },
      dispose: async () => {
        if (this.executables.delete(executable) && !this.failure) await this.call('release', { executable });
      },
    };
  }

  upload(tensor: Tensor, { transfer = false }: { transfer?: boolean } = {}): DeviceTensor {
    if (this.failure) throw this.failure;
    const { dtype, shape } = tensor;
    // Only a whole buffer can change threads, and only the caller knows whether it may.
    const whole = transfer && tensor.data.byteLength === tensor.data.buffer.byteLength;
    const data = whole ? tensor.data : tensor.data.slice();
    const handle = this.nextId++;
    this.call('upload', { handle, dtype, shape, data }, [data.buffer as ArrayBuffer]).catch(() => {
      // The run that uses the tensor reports the dead worker.
    });
    return this.tensors.adopt(handle, tensor);
  }

  async download(tensor: DeviceTensor): Promise<Tensor> {
    const { data } = await this.call('download', { handle: this.tensors.memoryOf(tensor) });
    return new Tensor(tensor.dtype, data, tensor.shape);
  }

  async dispose(): Promise<void> {
    this.fail(new DejaDitError('DISPOSED', `the backend '${this.name}' was disposed`));
    await this.thread.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  private call<Name extends CallName>(
    call: Name,
    parameters: Calls[Name]['arguments'],
    transfer: ArrayBuffer[] = [],
  ): Promise<Calls[Name]['result']> {
    if (this.failure) return Promise.reject(this.failure);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      if (this.pending.size === 0) this.thread.hold(true);
      this.pending.set(id, { resolve, reject });
      this.send({ id, call, arguments: parameters } as Request, transfer);
    });
  }

  private send(request: Request, transfer: ArrayBuffer[] = []): void {
    if (!this.failure) this.thread.post(request, transfer);
  }

  private settle({ id, result, error }: Reply): void {
    const pending = this.pending.get(id);
    // Answers to what has been given up already.
    if (!pending) return;
    this.pending.delete(id);
    if (this.pending.size === 0) this.thread.hold(false);
    if (error) pending.reject(new DejaDitError(error.code, error.message));
    else pending.resolve(result as never);
  }

  private fail(error: DejaDitError): void {
    this.failure ??= error;
    for (const { reject } of this.pending.values()) reject(this.failure);
    this.pending.clear();
    this.executables.clear();
  }
}

function lost(what: string, cause?: unknown): DejaDitError {
  const remedy = 'what it held is lost: create the backend and load its models again';
  return new DejaDitError('RUNTIME', `the worker thread ${what}; ${remedy}`, { cause });
}
