/** The worker thread's side of a `WorkerBackend`: owns a backend, its programs and its tensors. */
import { parentPort, workerData } from 'node:worker_threads';
import { DejaDitError } from '../../errors/errors.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { DeviceTensor, Executable } from '../backend.ts';
import { type CreateBackendOptions, createBackend } from '../create-backend.ts';
import type { CallName, Calls, RemoteTensor, Reply, Request } from './messages.ts';

const port = parentPort!;
const ready = createBackend(workerData as CreateBackendOptions);
const tensors = new Map<number, DeviceTensor>();
const executables = new Map<number, Executable>();
// The caller numbers uploads upwards from 1, this side numbers results downwards.
let nextHandle = -1;
let nextExecutable = 1;

type Handlers = { [Name in CallName]: (parameters: Calls[Name]['arguments']) => Promise<Calls[Name]['result']> };

const handlers: Handlers = {
  async compile({ graph }) {
    const executable = nextExecutable++;
    executables.set(executable, await (await ready).compile(graph));
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
    tensors.set(handle, (await ready).upload(new Tensor(dtype, data, shape)));
    return undefined;
  },
  async download({ handle }) {
    // The tensor stays usable here, so its memory is copied, not moved.
    return { data: (await (await ready).download(tensor(handle))).data.slice() };
  },
  async dispose() {
    await (await ready).dispose();
    return undefined;
  },
};

function tensor(handle: number): DeviceTensor {
  const found = tensors.get(handle);
  if (!found) throw new DejaDitError('DISPOSED', 'this tensor was disposed');
  return found;
}

/** Requests are served in order: a run must find the uploads sent before it. */
let queue: Promise<void> = Promise.resolve();

port.on('message', (request: Request) => {
  queue = queue.then(() => serve(request));
});

async function serve(request: Request): Promise<void> {
  if ('free' in request) {
    for (const handle of request.free) {
      tensors.get(handle)?.dispose();
      tensors.delete(handle);
    }
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
