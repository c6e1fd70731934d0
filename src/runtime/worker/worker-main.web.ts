/** What a worker backend's thread runs in a page. */
import type { OpenBackendOptions } from '../create-backend.ts';
import { type Assets, setAssets } from '../ort-web/assets.ts';
import type { Request } from './messages.ts';
import { BackendServer } from './serve.ts';

let server: BackendServer | undefined;
let queue: Promise<void> = Promise.resolve();

/** The first message says which backend, all others are its calls. */
globalThis.onmessage = ({ data }: MessageEvent<{ options: OpenBackendOptions; assets: Assets } | Request>) => {
  if (data && 'options' in data) {
    setAssets(data.assets);
    server = new BackendServer(data.options, (reply, transfer) => postMessage(reply, { transfer }));
  } else {
    queue = queue.then(() => server?.serve(data));
  }
};
