/** The worker thread's side of a `WorkerBackend`: owns a backend, its programs and its tensors. */
import { parentPort, workerData } from 'node:worker_threads';
import { DejaDitError } from '../../errors/errors.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { Backend, DeviceTensor, Executable } from '../backend.ts';
import { type OpenBackendOptions, openBackend } from '../create-backend.ts';
import type { CallName, Calls, RemoteTensor, Reply, Request } from './messages.ts';
import { Workshop } from './orderly-worker.ts';

const { flags, data: options } = workerData as { flags: Int32Array; data: OpenBackendOptions };
const port = parentPort!;
const tensors = new Map<number, DeviceTensor>();
const executables = new Map<number, Executable>();
// The caller numbers uploads upwards from 1, this side numbers results downwards.
let nextHandle = -1;
let nextExecutable = 1;

/** Created by the first call that needs it, which reports what goes wrong. */
let created: Promise<Backend> | undefined;
function backend(): Promise<Backend> {
  created ??= openBackend(options);
  return created;
}

type Handlers = { [Name in CallName]: (parameters: Calls[Name]['arguments']) => Promise<Calls[Name]['result']> };

const handlers: Handlers = {
  async capabilities() {
    return (await backend()).capabilities;
  },
  async compile({ graph }) {
    const executable = nextExecutable++;
    executables.set(executable, await (await backend()).compile(graph));
    return { executable };
  },
  async run({ executable, inputs }) {
    const feeds = Object.fromEntries(Object.entries(inputs).map(([name, handle]) => [name, tensor(handle)]));
    const outputs = await executables.get(executable)!.run(feeds);
    const remote: Record<string, RemoteTensor> = {};
    for (const [name, output] of Object.entries(outputs)) {
      const handle = nextHandle--;
      tensors.set(handle, output);
      remote[name] = { handle, dtype: output.dtype, shape: output.shape };
    }
    return remote;
  },
  async release({ executable }) {
    await executables.get(executable)?.dispose();
    executables.delete(executable);
    return undefined;
  },
  async upload({ handle, dtype, shape, data }) {
    // It was moved or copied here, so it is nobody else's.
    tensors.set(handle, (await backend()).upload(new Tensor(dtype, data, shape), { transfer: true }));
    return undefined;
  },
  async download({ handle }) {
    // The tensor stays usable here, so its memory is copied, not moved.
    return { data: (await (await backend()).download(tensor(handle), { copy: true })).data };
  },
};

function tensor(handle: number): DeviceTensor {
  const found = tensors.get(handle);
  if (!found) throw new DejaDitError('DISPOSED', 'this tensor was disposed');
  return found;
}

const workshop = new Workshop(flags, async () => {
  await (await created)?.dispose();
});

/** Requests are served in order: a run must find the uploads sent before it. */
port.on('message', (request: Request) => workshop.do(() => serve(request)));

async function serve(request: Request): Promise<void> {
  if (!request) return;
  if ('free' in request) {
    tensors.get(request.free)?.dispose();
    tensors.delete(request.free);
    return;
  }
  const { id, call } = request;
  const reply: Reply = { id };
  try {
    const handler = handlers[call] as (parameters: unknown) => Promise<Reply['result']>;
    reply.result = await handler(request.arguments);
  } catch (error) {
    const code = error instanceof DejaDitError ? error.code : 'RUNTIME';
    reply.error = { code, message: error instanceof Error ? error.message : String(error) };
  }
  const transfer =
    call === 'download' && reply.result && 'data' in reply.result
      ? [reply.result.data as { buffer: ArrayBufferLike }]
      : [];
  port.postMessage(
    reply,
    transfer.map(({ buffer }) => buffer as ArrayBuffer),
  );
}
