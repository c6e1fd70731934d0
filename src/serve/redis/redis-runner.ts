/**
 * The server's side of a queue in Redis: hands tasks to whichever worker takes them, and hears what becomes of them. A task whose worker
 * is lost is given to another one once; its client hears of one end only, since only the holder of a task's lock can end it.
 */
import type { Queue, QueueEvents } from 'bullmq';
import type { Redis } from 'ioredis';
import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import { taskError } from '../engine/engine.ts';
import type { ModelState } from '../engine/messages.ts';
import type { WorkKind, WorkResult } from '../jobs/job.ts';
import type { ModelRunner, Task, Watching } from '../jobs/runner.ts';
import {
  type Announcement,
  cancelChannel,
  checkQueueUrl,
  loadBullmq,
  modelsChannel,
  type Outcome,
  type Progress,
  prefix,
  queueName,
} from './connect.ts';
import { fromJson, toJson } from './plain-json.ts';

export interface RedisRunnerOptions {
  /** `redis://HOST:PORT` */
  url: string;
  /** Names of models that are known before a worker tells of them. */
  models: readonly string[];
  /** Tasks that are in Redis at a time. */
  capacity: number;
}

interface Connection {
  queue: Queue;
  events: QueueEvents;
  commands: Redis;
  /** All of them: BullMQ leaves those that it is given open. */
  clients: readonly Redis[];
}

/** BullMQ's smallest priority goes first; 0 would go before all. */
const middle = 2 ** 20;

export class RedisRunner implements ModelRunner {
  readonly capacity: number;
  readonly models: ReadonlyMap<string, ModelState>;
  readonly warm: Promise<void>;
  readonly pid = undefined;
  private readonly states: Map<string, ModelState>;
  private readonly connection: Promise<Connection>;
  private readonly watchers = new Map<string, Watching>();
  private settleWarm!: { resolve(): void; reject(error: unknown): void };

  constructor(options: RedisRunnerOptions) {
    this.capacity = options.capacity;
    this.states = new Map(options.models.map((name) => [name, { state: 'unloaded' }]));
    this.models = this.states;
    this.warm = new Promise((resolve, reject) => {
      this.settleWarm = { resolve, reject };
    });
    this.warm.catch(() => undefined);
    this.connection = this.connect(checkQueueUrl(options.url));
    this.connection.catch(this.settleWarm.reject);
  }

  async run<K extends WorkKind>(task: Task<K>, watching: Watching): Promise<WorkResult<K>> {
    const { signal } = watching;
    throwIfAborted(signal);
    const { queue, events, commands } = await this.connection;
    this.watchers.set(task.id, watching);
    const age = { age: 3600, count: 1000 };
    const priority = Math.max(1, Math.min(2 ** 21, middle - Math.round(task.priority)));
    try {
      const job = await queue.add('run', toJson(task), {
        jobId: task.id,
        priority,
        removeOnComplete: age,
        removeOnFail: age,
      });
      const removed = cancelled(signal, async () => {
        // One that waits is taken out; one that runs is locked, and ended by its worker.
        const waited = await job.remove().then(
          () => true,
          () => false,
        );
        if (!waited) await commands.publish(cancelChannel, task.id);
        return waited;
      });
      const outcome = fromJson(await Promise.race([job.waitUntilFinished(events), removed])) as Outcome;
      if ('error' in outcome) throw taskError(outcome.error);
      return outcome.result as WorkResult<K>;
    } catch (error) {
      if (error instanceof DejaDitError) throw error;
      throw new DejaDitError('RUNTIME', `the job was lost with its worker: ${(error as Error).message}`, {
        cause: error,
      });
    } finally {
      this.watchers.delete(task.id);
    }
  }

  async close(): Promise<void> {
    this.settleWarm.reject(new DejaDitError('DISPOSED', 'the server has ended'));
    const connection = await this.connection.catch(() => undefined);
    if (!connection) return;
    const { queue, events, clients } = connection;
    await Promise.all([queue.close(), events.close()]);
    for (const client of clients) client.disconnect();
  }

  private async connect(url: string): Promise<Connection> {
    const { Queue, QueueEvents, Redis } = await loadBullmq();
    const settings = { maxRetriesPerRequest: null };
    const clients = [new Redis(url, settings), new Redis(url, settings), new Redis(url, settings)] as const;
    const [commands, heard, blocked] = clients;
    // A Redis that is not there is tried again; what waits for it, waits.
    for (const client of clients) client.on('error', () => undefined);
    const queue = new Queue(queueName, { connection: commands, prefix });
    const events = new QueueEvents(queueName, { connection: blocked, prefix });
    queue.on('error', () => undefined);
    events.on('error', () => undefined);
    events.on('progress', ({ jobId, data }) => {
      this.watchers.get(jobId)?.onEvent(fromJson(String(data)) as Progress);
    });
    heard.on('message', (_, text) => this.hear(fromJson(text) as Announcement));
    await Promise.all([events.waitUntilReady(), heard.subscribe(modelsChannel)]);
    return { queue, events, commands, clients };
  }

  private hear({ models, warm }: Announcement): void {
    for (const [name, state] of models) {
      // Loaded by one of them is loaded.
      if (state.state === 'loaded' || this.states.get(name)?.state !== 'loaded') this.states.set(name, state);
    }
    if (warm) this.settleWarm.resolve();
  }
}

/** Rejects once the signal has fired and `end` has ended the task itself; else somebody else does. */
async function cancelled(signal: AbortSignal, end: () => Promise<boolean>): Promise<never> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  if (await end()) throw new DejaDitError('ABORTED', 'the request was aborted');
  return new Promise(() => undefined);
}
