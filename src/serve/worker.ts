/** A worker of a queue in Redis, as `deja-dit worker` runs it. */
import { pino } from 'pino';
import { DejaDitError } from '../errors/errors.ts';
import { Engine } from './engine/engine.ts';
import { engineOptions } from './engine/engine-options.ts';
import { startWorker } from './redis/redis-worker.ts';
import { readServerOptions, type ServerOptions } from './settings.ts';

export interface WorkerHandle {
  /** Settles when the first model is loaded and warm. @throws DejaDitError why it cannot be */
  readonly ready: Promise<void>;
  /** Takes no more jobs, lets those that it has end, and ends. */
  close(): Promise<void>;
}

/**
 * Serves the queue that a server with the same `queue` puts its jobs on.
 * @throws DejaDitError INVALID_ARGUMENT naming the option
 */
export async function createWorker(options: ServerOptions): Promise<WorkerHandle> {
  const settings = readServerOptions(options);
  const { queue, queueLock: lock } = settings;
  if (queue === undefined)
    throw new DejaDitError('INVALID_ARGUMENT', 'is missing: redis://HOST:PORT of the queue to serve', {
      path: 'queue',
    });
  const log = pino({ level: settings.logLevel, base: null }, pino.destination({ dest: 2, sync: true }));
  const engine = new Engine({
    ...engineOptions(settings),
    onWarning: (message) => log.warn(message),
    onLost: (reason) => log.error(`${reason}; it is started anew`),
  });
  try {
    const worker = await startWorker({ url: queue, runner: engine, lock, onError: (message) => log.error(message) });
    return {
      ready: engine.warm,
      close: async () => {
        await worker.close();
        await engine.close();
      },
    };
  } catch (error) {
    await engine.close();
    throw error;
  }
}
