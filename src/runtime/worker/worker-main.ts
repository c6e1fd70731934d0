/** What a worker backend's thread runs in Node. */
import { parentPort, workerData } from 'node:worker_threads';
import type { OpenBackendOptions } from '../create-backend.ts';
import type { Request } from './messages.ts';
import { Workshop } from './orderly-worker.ts';
import { BackendServer } from './serve.ts';

const { flags, data: options } = workerData as { flags: Int32Array; data: OpenBackendOptions };
const port = parentPort!;
const server = new BackendServer(options, (reply, transfer) => port.postMessage(reply, transfer));
const workshop = new Workshop(flags, () => server.close());

port.on('message', (request: Request) => workshop.do(() => server.serve(request)));
