/**
 * The server's side of the engine process: starts it, starts it anew when it is lost, and runs tasks in it. A process and not a thread,
 * because what goes wrong in native code, or in a machine without memory, takes the whole process along.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import type { WorkKind, WorkResult } from '../jobs/job.ts';
import { type ModelRunner, RunnerLost, type Task, type Watching } from '../jobs/runner.ts';
import type { EngineSettings, FromEngine, ModelState, ToEngine } from './messages.ts';

export interface EngineOptions extends EngineSettings {
  /** Tasks that run at the same time. */
  capacity: number;
  /** Seconds that a cancelled task may take to end before its process is ended: a run of ONNX Runtime is not broken off. */
  grace?: number;
  onWarning?(message: string): void;
  /** Told when the process was lost, and why. */
  onLost?(reason: string): void;
}

interface Running {
  watching: Watching;
  resolve(result: WorkResult): void;
  reject(error: Error): void;
}

/** A process that ends so soon is started again after a pause, a longer one each time. */
const soon = 10_000;

export class Engine implements ModelRunner {
  readonly capacity: number;
  /** By name, in the order of the settings. */
  readonly models: ReadonlyMap<string, ModelState>;
  /** Settles when the first model is loaded and has drawn once; rejects if it cannot be loaded. */
  readonly warm: Promise<void>;
  private child: ChildProcess | undefined;
  private readonly tasks = new Map<string, Running>();
  private readonly states: Map<string, ModelState>;
  /** Who waits for models to be loaded, by name. */
  private readonly loading = new Map<string, (() => void)[]>();
  private isClosed = false;
  private failures = 0;
  private restart: NodeJS.Timeout | undefined;
  private settleWarm!: { resolve(): void; reject(error: Error): void };

  constructor(private readonly options: EngineOptions) {
    this.capacity = options.capacity;
    this.states = new Map(options.models.map(({ name }) => [name, { state: 'unloaded' }]));
    this.models = this.states;
    this.warm = new Promise((resolve, reject) => {
      this.settleWarm = { resolve, reject };
    });
    // Whoever asks for it hears of a failure; if nobody does, /health does.
    this.warm.catch(() => undefined);
    this.start();
  }

  /** Of the process, while there is one. */
  get pid(): number | undefined {
    return this.child?.pid;
  }

  async run<K extends WorkKind>(task: Task<K>, watching: Watching): Promise<WorkResult<K>> {
    const { signal } = watching;
    throwIfAborted(signal);
    if (this.isClosed) throw new DejaDitError('DISPOSED', 'the server is ending');
    // A process that waits to be started anew is wanted now.
    if (!this.child) this.start();
    let force: NodeJS.Timeout | undefined;
    const cancel = () => {
      this.send({ cancel: task.id });
      force = setTimeout(() => this.child?.kill('SIGKILL'), (this.options.grace ?? 60) * 1000);
    };
    signal.addEventListener('abort', cancel);
    try {
      return await new Promise<WorkResult<K>>((resolve, reject) => {
        this.tasks.set(task.id, { watching, resolve: resolve as (result: WorkResult) => void, reject });
        this.send({ run: task as Task });
      });
    } finally {
      clearTimeout(force);
      signal.removeEventListener('abort', cancel);
      this.tasks.delete(task.id);
    }
  }

  /** Loads a model ahead of need. Settles when it is, or cannot be, which `models` shows. */
  async load(name: string): Promise<void> {
    if (this.isClosed) return;
    if (!this.child) this.start();
    this.send({ load: name });
    await new Promise<void>((resolve) => this.loading.set(name, [...(this.loading.get(name) ?? []), resolve]));
  }

  /** Frees a model when no task uses it any more. */
  unload(name: string): void {
    this.send({ unload: name });
  }

  /** Ends the process, and with it the tasks that still run. */
  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    clearTimeout(this.restart);
    this.settleWarm.reject(new DejaDitError('DISPOSED', 'the server has ended'));
    const { child } = this;
    if (!child) return;
    const ended = once(child, 'exit');
    this.send({ end: true });
    const force = setTimeout(() => child.kill('SIGKILL'), (this.options.grace ?? 60) * 1000);
    await ended.finally(() => clearTimeout(force));
  }

  private start(): void {
    clearTimeout(this.restart);
    const { models, memory, cache, load, lora, loraDir, maxPixels } = this.options;
    // A process cannot load TypeScript, so from the sources it is the built file that runs.
    const entry = import.meta.url.endsWith('.ts') ? '../../../dist/serve/engine/engine-main.js' : './engine-main.js';
    const child = fork(new URL(entry, import.meta.url), [], {
      execArgv: [],
      serialization: 'advanced',
      // Its output is for whoever looks for what went wrong; ours is the server's address.
      stdio: ['ignore', 2, 2, 'ipc'],
    });
    const born = Date.now();
    this.child = child;
    child.on('message', (message: FromEngine) => this.hear(message));
    child.once('error', () => undefined);
    child.once('exit', (code, signal) => this.lose(signal ?? `code ${code}`, Date.now() - born));
    this.send({ start: { models, memory, cache, load, lora, loraDir, maxPixels } });
  }

  private lose(how: string, lived: number): void {
    this.child = undefined;
    for (const name of this.states.keys()) this.become(name, { state: 'unloaded' });
    for (const name of [...this.loading.keys()]) this.loaded(name);
    const tasks = [...this.tasks.values()];
    const reason = `the engine process was ended by ${how}`;
    for (const { reject } of tasks)
      reject(
        this.isClosed
          ? new DejaDitError('DISPOSED', 'the server is ending')
          : new RunnerLost(`${reason}; it is started anew, try again`, tasks.length === 1),
      );
    if (this.isClosed) return;
    this.options.onLost?.(reason);
    this.failures = lived < soon ? this.failures + 1 : 0;
    const pause = this.failures === 0 ? 0 : Math.min(30_000, 500 * 2 ** this.failures);
    this.restart = setTimeout(() => this.start(), pause);
  }

  private send(message: ToEngine): void {
    // A process that is just ending cannot be told; that it ended is heard by its exit.
    if (this.child?.connected) this.child.send(message, () => undefined);
  }

  private hear(message: FromEngine): void {
    if ('event' in message) this.tasks.get(message.of)?.watching.onEvent(message.event);
    else if ('result' in message) this.tasks.get(message.of)?.resolve(message.result);
    else if ('error' in message) this.tasks.get(message.of)?.reject(taskError(message.error));
    else if ('warning' in message) this.options.onWarning?.(message.warning);
    else if ('warm' in message) this.settleWarm.resolve();
    else {
      this.become(message.model, message.now);
      const isFirst = message.model === this.options.models[0]?.name;
      if (isFirst && message.now.state === 'failed') this.settleWarm.reject(taskError(message.now.error));
      if (message.now.state === 'loaded' || message.now.state === 'failed') this.loaded(message.model);
    }
  }

  /** What a model is stays known when it is freed. */
  private become(name: string, now: ModelState): void {
    const before = this.states.get(name);
    const info = before && 'info' in before ? before.info : undefined;
    this.states.set(name, info && !('info' in now) && now.state !== 'failed' ? { ...now, info } : now);
  }

  private loaded(name: string): void {
    const waiting = this.loading.get(name) ?? [];
    this.loading.delete(name);
    for (const resolve of waiting) resolve();
  }
}

/** A task's error as one of ours again. Its message has the path in it already. */
export function taskError({ code, message, path }: { code: string; message: string; path?: string }): DejaDitError {
  const bare = path !== undefined && message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
  const known = code === 'TIMEOUT' ? 'ABORTED' : (code as DejaDitError['code']);
  return new DejaDitError(known, bare, path === undefined ? {} : { path });
}
