/**
 * ONNX Runtime's telemetry, off unless somebody asks for it. Left on, the native library looks a host up on every run, writes
 * `~/.cache/Microsoft/DeveloperTools/`, and truncates `mat-debug-<pid>.log` in the temporary folder, through links too.
 */
import { isMainThread } from 'node:worker_threads';
import { warn } from '../errors/warnings.ts';

/**
 * To be called before the native library is in the process. A value that is set already stays: `ORT_DISABLE_TELEMETRY=0` turns it on.
 */
export function disableTelemetry(): void {
  if (process.env['ORT_DISABLE_TELEMETRY'] !== undefined) return;
  process.env['ORT_DISABLE_TELEMETRY'] = '1';
  // A thread has a copy of the environment, and the library reads the process's own.
  if (!isMainThread)
    warn(
      'ONNX Runtime is loaded in a worker thread, from where its telemetry cannot be turned off: set ORT_DISABLE_TELEMETRY=1 before the thread starts',
    );
}
