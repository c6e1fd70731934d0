/** The progress of a download: bytes and the time that is left. */
import type { DownloadProgress } from '../../weights/hub/hub.ts';
import { bytes } from './format.ts';
import { ProgressBar } from './progress.ts';

export function downloadProgress(): (progress: DownloadProgress) => void {
  let bar: ProgressBar | undefined;
  return ({ file, overall: { received, total } }) => {
    // What an earlier download has left says nothing about the speed of this one.
    bar ??= new ProgressBar('downloading', total, { show: bytes, from: received });
    if (received < total) bar.update(received, file);
    else bar.clear();
  };
}
