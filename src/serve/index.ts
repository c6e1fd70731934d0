/** `deja-dit/serve`: the server as a fetch handler, and on a port of Node. */
export { type Listening, type ListenOptions, listen } from './listen.ts';
export { createServer, type Server } from './server.ts';
export type { ServerOptions } from './settings.ts';
export { createWorker, type WorkerHandle } from './worker.ts';
