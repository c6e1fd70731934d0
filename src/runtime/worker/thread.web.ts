/** A worker backend's thread in a page. */
import type { OpenBackendOptions } from '../create-backend.ts';
import { assets } from '../ort-web/assets.ts';
import type { Reply, Thread, ThreadEvents } from './messages.ts';

export function openThread(options: OpenBackendOptions, { onReply, onLost }: ThreadEvents): Thread {
  // Written so, bundlers see that there is a file to bundle.
  const worker = assets.worker
    ? new Worker(assets.worker, { type: 'module' })
    : new Worker(new URL('./worker-main.web.js', import.meta.url), { type: 'module' });
  worker.onmessage = ({ data }: MessageEvent<Reply>) => onReply(data);
  worker.onerror = ({ message, error }) =>
    onLost(`failed: ${message || 'its file cannot be loaded, see setAssets'}`, error);
  worker.postMessage({ options, assets });
  return {
    post: (request, transfer) => worker.postMessage(request, transfer),
    hold: () => {},
    async end() {
      worker.terminate();
    },
  };
}
