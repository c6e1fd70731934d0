/** A worker: takes tasks from a queue in Redis, runs them in an engine process of its own, and tells what becomes of them. */
import { randomUUID } from 'node:crypto';
import { DejaDitError } from '../../errors/errors.ts';
import type { JobError, WorkEvent } from '../jobs/job.ts';
import { jobError } from '../jobs/jobs.ts';
import { type ModelRunner, RunnerLost, type Task } from '../jobs/runner.ts';
import {
  type Announcement,
  cancelChannel,
  checkQueueUrl,
  loadBullmq,
  modelsChannel,
  type Outcome,
  prefix,
  queueName,
} from './connect.ts';
import { fromJson, toJson } from './plain-json.ts';

export interface RedisWorkerOptions {
  url: string;
  runner: ModelRunner;
  /** Seconds that a worker may be silent before its tasks are given to another one. Default 30. */
  lock?: number | undefined;
  onError?(message: string): void;
}

export interface RedisWorker {
  /** Takes no more tasks, and waits for those that it has. */
  close(): Promise<void>;
}

/** How often a worker tells of its models. Milliseconds. */
const heartbeat = 1000;

export async function startWorker({ url, runner, lock = 30, onError }: RedisWorkerOptions): Promise<RedisWorker> {
  const { Worker, Redis } = await loadBullmq();
  const address = checkQueueUrl(url);
  const settings = { maxRetriesPerRequest: null };
  // BullMQ leaves those that it is given open.
  const clients = [new Redis(address, settings), new Redis(address, settings), new Redis(address, settings)] as const;
  const [commands, heard, taken] = clients;
  for (const client of clients) client.on('error', (error) => onError?.(error.message));
  const tasks = new Map<string, AbortController>();
  heard.on('message', (_, id) => tasks.get(id)?.abort());
  await heard.subscribe(cancelChannel);

  let isWarm = false;
  void runner.warm.then(
    () => {
      isWarm = true;
    },
    () => undefined,
  );
  const worker = randomUUID();
  const announce = () => {
    const announcement: Announcement = { worker, models: [...runner.models], warm: isWarm };
    void commands.publish(modelsChannel, toJson(announcement)).catch(() => undefined);
  };
  const beat = setInterval(announce, heartbeat);

  const taking = new Worker(
    queueName,
    async (job) => {
      const task = fromJson(job.data) as Task;
      const controller = new AbortController();
      tasks.set(task.id, controller);
      let told: Promise<unknown> = Promise.resolve();
      const onEvent = (event: WorkEvent) => {
        told = told.then(() => job.updateProgress(toJson(event))).catch(() => undefined);
      };
      try {
        const outcome = await outcomeOf(runner, task, { signal: controller.signal, onEvent });
        // What it said comes before its end.
        await told;
        return toJson(outcome);
      } finally {
        tasks.delete(task.id);
      }
    },
    {
      connection: taken,
      prefix,
      concurrency: runner.capacity,
      lockDuration: lock * 1000,
      stalledInterval: Math.max(1000, (lock * 1000) / 2),
      maxStalledCount: 1,
    },
  );
  taking.on('error', (error) => onError?.(error.message));
  await taking.waitUntilReady();
  return {
    close: async () => {
      await taking.close();
      clearInterval(beat);
      for (const client of clients) client.disconnect();
    },
  };
}

async function outcomeOf(
  runner: ModelRunner,
  task: Task,
  watching: { signal: AbortSignal; onEvent(event: WorkEvent): void },
): Promise<Outcome> {
  try {
    return { result: await runner.run(task, watching) };
  } catch (error) {
    // Lost together with others: it may be none of its doing.
    if (error instanceof RunnerLost && !error.alone) return outcomeOf(runner, task, watching);
    return { error: watching.signal.aborted ? aborted : jobError(error) };
  }
}

const aborted: JobError = jobError(new DejaDitError('ABORTED', 'the request was aborted'));
