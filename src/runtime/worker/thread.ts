/** A worker backend's thread in Node. */
import type { OpenBackendOptions } from '../create-backend.ts';
import { disableTelemetry } from '../telemetry.ts';
import type { Reply, Thread, ThreadEvents } from './messages.ts';
import { OrderlyWorker } from './orderly-worker.ts';

export function openThread(options: OpenBackendOptions, { onReply, onLost }: ThreadEvents): Thread {
  disableTelemetry();
  // A thread cannot load TypeScript, so from the sources it is the built file that runs.
  const entry = import.meta.url.endsWith('.ts') ? '../../../dist/runtime/worker/worker-main.js' : './worker-main.js';
  const worker = new OrderlyWorker(new URL(entry, import.meta.url), options);
  worker.unref();
  worker.on('message', (reply: Reply) => onReply(reply));
  worker.on('error', (cause) => onLost(`failed: ${cause.message}`, cause));
  worker.on('exit', (code) => onLost(`ended with code ${code}`));
  return {
    post: (request, transfer) => worker.postMessage(request, transfer),
    hold: (pending) => (pending ? worker.ref() : worker.unref()),
    async end() {
      await worker.terminate();
    },
  };
}
