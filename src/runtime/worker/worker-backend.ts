/**
 * Any backend in a thread of its own, behind the same interface. A run of ONNX Runtime blocks the thread that called it, so a
 * server computes here and keeps its own thread for requests.
 */
import { Worker } from 'node:worker_threads';
import { DejaDitError } from '../../errors/errors.ts';
import type { Graph } from '../../graph/graph.ts';
import type { DType } from '../../tensor/dtype.ts';
import { type Shape, Tensor } from '../../tensor/tensor.ts';
import type { Backend, DeviceTensor, Executable } from '../backend.ts';
import type { CreateBackendOptions } from '../create-backend.ts';
import type { CallName, Calls, RemoteTensor, Reply, Request } from './messages.ts';

class TensorHandle implements DeviceTensor {
  constructor(
    readonly handle: number,
    readonly dtype: DType,
    readonly shape: Shape,
    private readonly free: (handle: number) => void,
  ) {}

  dispose(): void {
    this.free(this.handle);
  }
}

interface Pending {
  resolve(result: never): void;
  reject(error: Error): void;
}

export class WorkerBackend implements Backend {
  readonly name: string;
  private readonly worker: Worker;
  private readonly pending = new Map<number, Pending>();
  /** Tensors nobody holds any more are freed on the worker's side too. */
  private readonly registry = new FinalizationRegistry<number>((handle) => this.send({ free: [handle] }));
  private nextId = 1;
  private failure: Error | undefined;

  constructor(options: CreateBackendOptions) {
    this.name = `${options.backend ?? 'cpu'} (worker thread)`;
    // A thread cannot load TypeScript, so from the sources it is the built file that runs.
    const entry = import.meta.url.endsWith('.ts') ? '../../../dist/runtime/worker/worker-main.js' : './worker-main.js';
    this.worker = new Worker(new URL(entry, import.meta.url), { workerData: options });
    // An idle engine must not keep the process alive; while a call is pending it does.
    this.worker.unref();
    this.worker.on('message', (reply: Reply) => this.settle(reply));
    this.worker.on('error', (cause) =>
      this.fail(new DejaDitError('RUNTIME', `the worker thread failed: ${cause.message}`, { cause })),
    );
    this.worker.on('exit', (code) =>
      this.fail(new DejaDitError('RUNTIME', `the worker thread ended with code ${code}`)),
    );
  }

  async compile(graph: Graph): Promise<Executable> {
    const { executable } = await this.call('compile', { graph });
    return {
      run: async (inputs) => {
        const handles = Object.fromEntries(
          Object.entries(inputs).map(([name, tensor]) => [name, (tensor as TensorHandle).handle]),
        );
        const outputs = await this.call('run', { executable, inputs: handles });
        return Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, this.adopt(tensor)]));
      },
      dispose: async () => {
        await this.call('release', { executable });
      },
    };
  }

  upload(tensor: Tensor, { transfer = false }: { transfer?: boolean } = {}): DeviceTensor {
    const { dtype, shape } = tensor;
    // Only a whole buffer can change threads, and only the caller knows whether it may.
    const whole = transfer && tensor.data.byteLength === tensor.data.buffer.byteLength;
    const data = whole ? tensor.data : tensor.data.slice();
    const handle = this.nextId++;
    this.call('upload', { handle, dtype, shape, data }, [data.buffer as ArrayBuffer]).catch(() => {
      // The run that uses the tensor reports the dead worker.
    });
    return this.adopt({ handle, dtype, shape });
  }

  async download(tensor: DeviceTensor): Promise<Tensor> {
    const { data } = await this.call('download', { handle: (tensor as TensorHandle).handle });
    return new Tensor(tensor.dtype, data, tensor.shape);
  }

  async dispose(): Promise<void> {
    if (this.failure) return;
    await this.call('dispose', {});
    this.failure = new DejaDitError('DISPOSED', 'this backend was disposed');
    await this.worker.terminate();
  }

  private adopt({ handle, dtype, shape }: RemoteTensor): TensorHandle {
    const tensor = new TensorHandle(handle, dtype, shape, (freed) => {
      this.registry.unregister(tensor);
      this.send({ free: [freed] });
    });
    this.registry.register(tensor, handle, tensor);
    return tensor;
  }

  private call<Name extends CallName>(
    call: Name,
    parameters: Calls[Name]['arguments'],
    transfer: ArrayBuffer[] = [],
  ): Promise<Calls[Name]['result']> {
    if (this.failure) return Promise.reject(this.failure);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      if (this.pending.size === 0) this.worker.ref();
      this.pending.set(id, { resolve, reject });
      this.send({ id, call, arguments: parameters } as Request, transfer);
    });
  }

  private send(request: Request, transfer: ArrayBuffer[] = []): void {
    if (!this.failure) this.worker.postMessage(request, transfer);
  }

  private settle({ id, result, error }: Reply): void {
    const pending = this.pending.get(id);
    this.pending.delete(id);
    if (this.pending.size === 0) this.worker.unref();
    if (error) pending?.reject(new DejaDitError(error.code, error.message));
    else pending?.resolve(result as never);
  }

  private fail(error: DejaDitError): void {
    this.failure ??= error;
    for (const { reject } of this.pending.values()) reject(this.failure);
    this.pending.clear();
  }
}
