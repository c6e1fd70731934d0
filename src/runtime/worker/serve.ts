/** A `WorkerBackend`'s calls, served in its thread: owns a backend, its programs and its tensors. */
import { DejaDitError } from '../../errors/errors.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { Backend, DeviceTensor, Executable } from '../backend.ts';
import type { OpenBackendOptions } from '../create-backend.ts';
import { openHere } from '../open-here.ts';
import type { CallName, Calls, RemoteTensor, Reply, Request } from './messages.ts';

type Handlers = { [Name in CallName]: (parameters: Calls[Name]['arguments']) => Promise<Calls[Name]['result']> };

export class BackendServer {
  private readonly tensors = new Map<number, DeviceTensor>();
  private readonly executables = new Map<number, Executable>();
  // The caller numbers uploads upwards from 1, this side numbers results downwards.
  private nextHandle = -1;
  private nextExecutable = 1;
  /** Created by the first call that needs it, which reports what goes wrong. */
  private created: Promise<Backend> | undefined;

  /** @param post sends a reply, with memory that goes along */
  constructor(
    private readonly options: OpenBackendOptions,
    private readonly post: (reply: Reply, transfer: ArrayBuffer[]) => void,
  ) {}

  private readonly handlers: Handlers = {
    capabilities: async () => (await this.backend()).capabilities,
    compile: async ({ graph }) => {
      const executable = this.nextExecutable++;
      this.executables.set(executable, await (await this.backend()).compile(graph));
      return { executable };
    },
    run: async ({ executable, inputs }) => {
      const feeds = Object.fromEntries(Object.entries(inputs).map(([name, handle]) => [name, this.tensor(handle)]));
      const outputs = await this.executables.get(executable)!.run(feeds);
      const remote: Record<string, RemoteTensor> = {};
      for (const [name, output] of Object.entries(outputs)) {
        const handle = this.nextHandle--;
        this.tensors.set(handle, output);
        remote[name] = { handle, dtype: output.dtype, shape: output.shape };
      }
      return remote;
    },
    release: async ({ executable }) => {
      await this.executables.get(executable)?.dispose();
      this.executables.delete(executable);
      return undefined;
    },
    upload: async ({ handle, dtype, shape, data }) => {
      // It was moved or copied here, so it is nobody else's.
      const tensor = new Tensor(dtype, data, shape);
      this.tensors.set(handle, (await this.backend()).upload(tensor, { transfer: true }));
      return undefined;
    },
    download: async ({ handle }) => {
      // The tensor stays usable here, so its memory is copied, not moved.
      return { data: (await (await this.backend()).download(this.tensor(handle), { copy: true })).data };
    },
  };

  /** One call. Calls must be served in order: a run must find the uploads sent before it. */
  async serve(request: Request): Promise<void> {
    if (!request) return;
    if ('free' in request) {
      this.tensors.get(request.free)?.dispose();
      this.tensors.delete(request.free);
      return;
    }
    const { id, call } = request;
    const reply: Reply = { id };
    try {
      const handler = this.handlers[call] as (parameters: unknown) => Promise<Reply['result']>;
      reply.result = await handler(request.arguments);
    } catch (error) {
      const code = error instanceof DejaDitError ? error.code : 'RUNTIME';
      reply.error = { code, message: error instanceof Error ? error.message : String(error) };
    }
    const copy = call === 'download' ? (reply.result as Calls['download']['result'] | undefined) : undefined;
    this.post(reply, copy ? [copy.data.buffer as ArrayBuffer] : []);
  }

  async close(): Promise<void> {
    await (await this.created)?.dispose();
  }

  private backend(): Promise<Backend> {
    this.created ??= openHere(this.options);
    return this.created;
  }

  private tensor(handle: number): DeviceTensor {
    const found = this.tensors.get(handle);
    if (!found) throw new DejaDitError('DISPOSED', 'this tensor was disposed');
    return found;
  }
}
