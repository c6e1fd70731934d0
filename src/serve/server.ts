/** `createServer`: the engine, the job core and the protocols over it, as a fetch handler. Listening on a port is `listen.ts`. */
import { pino } from 'pino';
import { DejaDitError } from '../errors/errors.ts';
import type { Core } from './core.ts';
import { Engine } from './engine/engine.ts';
import { engineOptions } from './engine/engine-options.ts';
import { createApp } from './http/app.ts';
import { Links } from './http/links.ts';
import { Metrics } from './http/metrics.ts';
import { Pictures } from './http/pictures.ts';
import { checkLimits } from './jobs/check-limits.ts';
import { Jobs } from './jobs/jobs.ts';
import type { ModelRunner } from './jobs/runner.ts';
import { Loras } from './loras.ts';
import { Models } from './models.ts';
import { Outputs } from './outputs.ts';
import { RedisRunner } from './redis/redis-runner.ts';
import { readServerOptions, type ServerOptions } from './settings.ts';
import { skins } from './skins.ts';

export interface Server extends AsyncDisposable {
  /** Is itself the handler, for whatever takes a function. */
  (request: Request): Promise<Response>;
  /** Answers a request; never throws. */
  fetch(request: Request, env?: unknown): Promise<Response>;
  /** Settles when the first model is loaded and warm. @throws DejaDitError why it cannot be */
  readonly ready: Promise<void>;
  readonly core: Core;
  /**
   * Takes no more requests for jobs and lets those that are there end.
   * @param seconds after which what is left is cancelled. Default 30
   */
  drain(seconds?: number): Promise<void>;
  /** Cancels what still runs and ends the engine process. */
  close(): Promise<void>;
}

/**
 * A server of images and videos as a fetch handler, for Node, Hono, or whatever calls one. Models run in a process of their own, so that
 * this one always answers.
 * @throws DejaDitError INVALID_ARGUMENT naming the option
 * @example
 * import { createServer } from 'deja-dit/serve';
 *
 * await using server = createServer({ model: 'path/to/model' });
 * await server.ready;
 * const answer = await server.fetch(new Request('http://localhost/health'));
 */
export function createServer(options: ServerOptions = {}): Server {
  const settings = readServerOptions(options);
  const log = pino({ level: settings.logLevel, base: null }, pino.destination({ dest: 2, sync: true }));
  let failed: string | undefined;
  const { queue, maxQueued } = settings;
  const engine: ModelRunner =
    queue === undefined
      ? new Engine({
          ...engineOptions(settings),
          onWarning: (message) => log.warn(message),
          onLost: (reason) => {
            log.error(`${reason}; it is started anew`);
            metrics.engineLost();
          },
        })
      : new RedisRunner({ url: queue, models: settings.models.map(({ name }) => name), capacity: maxQueued });
  const models = new Models(engine);
  const jobs = new Jobs({
    runner: engine,
    modelOf: (name) => models.require(name),
    maxQueued: settings.maxQueued,
    timeout: settings.timeout,
    keep: { bytes: settings.keepMemory, age: settings.keepSeconds },
    check: (request) => checkLimits(request, settings),
  });
  const metrics = new Metrics(jobs, models);
  jobs.watch(({ id, model, error }, { type }) => {
    if (type === 'step' || type === 'preview' || type === 'detail') return;
    log.info({ job: id, model, ...(error ? { error: error.message } : {}) }, `job ${type}`);
  });
  let isWarm = false;
  const ready = engine.warm.then(
    () => {
      isWarm = true;
    },
    (error) => {
      failed = error instanceof DejaDitError ? error.message : 'the model cannot be loaded';
      throw error;
    },
  );
  ready.catch(() => undefined);
  const core: Core = {
    jobs,
    models,
    loras: new Loras(settings),
    outputs: settings.outputDir === undefined ? undefined : new Outputs(settings.outputDir),
    pictures: new Pictures({ urls: settings.imageUrls, maxBytes: settings.maxBodyBytes }),
    links: new Links(),
    settings,
    log,
    startedAt: Date.now(),
    load: engine.load && ((name) => engine.load!(name)),
    get enginePid() {
      return engine.pid;
    },
    notReady: () => {
      if (!jobs.accepting) return 'the server is ending';
      return isWarm ? undefined : (failed ?? 'the model is being loaded');
    },
    metrics: async () => ({ contentType: metrics.contentType, text: await metrics.text() }),
  };
  const app = createApp({ core, skins, metrics });
  const fetch = async (request: Request, env?: unknown) => app.fetch(request, env as object | undefined);
  const close = async () => {
    const ending = jobs.close();
    await engine.close();
    await ending;
  };
  return Object.assign((request: Request) => fetch(request), {
    fetch,
    ready,
    core,
    drain: (seconds = 30) => jobs.drain(seconds),
    close,
    [Symbol.asyncDispose]: close,
  });
}
