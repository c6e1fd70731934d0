/** A server and two workers over a real Redis, one of which is killed in the middle of a job. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createTcpServer } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Image } from '../../images/image.ts';
import { DiffusionPipeline } from '../../pipelines/diffusion-pipeline.ts';
import { bundledModel } from '../../weights/bundled-model.ts';
import { isFinished, type Job } from '../jobs/job.ts';
import { createServer, type Server } from '../server.ts';
import { levels } from '../testing/start.ts';

const found = await new Promise<boolean>((resolve) => {
  spawn('redis-server', ['--version'], { stdio: 'ignore' })
    .once('error', () => resolve(false))
    .once('exit', () => resolve(true));
});
if (!found) console.error('NOT CHECKED: queues in Redis; redis-server is not installed');

const main = path.resolve(import.meta.dirname, '../../../dist/cli/main.js');
const children: ChildProcess[] = [];

async function freePort(): Promise<number> {
  const probe = createTcpServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, 'close');
  return port;
}

/** The first line that it prints. */
async function firstLine(child: ChildProcess): Promise<string> {
  const { value } = await createInterface({ input: child.stdout! })[Symbol.asyncIterator]().next();
  return value;
}

describe.skipIf(!found)('a queue in Redis', () => {
  let queue: string;
  let server: Server;
  const workers: ChildProcess[] = [];
  const startWorker = async () => {
    const args = [
      'worker',
      '--queue',
      queue,
      '--queue-lock',
      '2',
      '--concurrency',
      '1',
      '--threads',
      '1',
      '--log-level',
      'error',
    ];
    const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    children.push(child);
    workers.push(child);
    expect(await firstLine(child)).toBe('ready');
  };
  beforeAll(async () => {
    const port = await freePort();
    queue = `redis://127.0.0.1:${port}`;
    const redis = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    children.push(spawn('redis-server', redis, { stdio: 'ignore' }));
    server = createServer({ queue });
    await Promise.all([startWorker(), startWorker()]);
    await server.ready;
  });
  afterAll(async () => {
    await server.close();
    for (const child of children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
    }
  });

  const submit = (seed: number, more: object = {}) =>
    server.core.jobs.submit({
      kind: 'generate',
      input: { options: { prompt: 'red apple', seed, numInferenceSteps: 3, width: 64, height: 64, ...more } },
    });
  const steps = (job: Job) => job.progress.step;

  it('knows the models of its workers, and what is wrong with a request', async () => {
    expect(server.core.models.list()).toMatchObject([{ name: 'emoji-flux', now: { state: 'loaded' } }]);
    const { id } = submit(1, { width: 63 });
    expect((await server.core.jobs.finished(id)).error).toMatchObject({ code: 'INVALID_ARGUMENT', path: 'width' });
  });

  it('ends a job that waits and one that runs', async () => {
    const long = [1, 2].map((seed) => submit(seed, { numInferenceSteps: 200 }));
    await vi.waitFor(() => expect(long.every((job) => steps(job) > 0)).toBe(true), { timeout: 60_000 });
    const waits = submit(3);
    server.core.jobs.cancel(waits.id);
    expect((await server.core.jobs.finished(waits.id)).state).toBe('cancelled');
    for (const { id } of long) server.core.jobs.cancel(id);
    for (const { id } of long) expect((await server.core.jobs.finished(id)).state).toBe('cancelled');
  });

  it('loses and doubles no job when a worker is killed in the middle of one', async () => {
    const jobs = [1, 2, 3, 4, 5, 6].map((seed) => submit(seed, { numInferenceSteps: 20 }));
    const ends: string[] = [];
    const stop = server.core.jobs.watch((job, { type }) => {
      if (isFinished(job)) ends.push(`${jobs.findIndex(({ id }) => id === job.id)} ${type}`);
    });
    await vi.waitFor(() => expect(jobs.filter((job) => steps(job) > 1).length).toBeGreaterThan(1), { timeout: 60_000 });
    workers[0]!.kill('SIGKILL');
    const done = await Promise.all(jobs.map(({ id }) => server.core.jobs.finished<'generate'>(id)));
    stop();
    expect(ends.toSorted()).toEqual(jobs.map((_, i) => `${i} done`));
    await using pipe = await DiffusionPipeline.fromPretrained(bundledModel(), { threads: 1 });
    for (const { result, request } of done) {
      const { images } = await pipe.generate({ ...request.input.options } as object);
      expect(levels(await Image.load(result!.files[0]!.bytes), images[0]!)).toBeLessThanOrEqual(1);
    }
  });
});
