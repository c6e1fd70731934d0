import { describe, expect, it, vi } from 'vitest';
import { DejaDitError } from '../../errors/errors.ts';
import type { Job, JobEvent, JobRequest } from './job.ts';
import { Jobs, type JobsOptions } from './jobs.ts';
import { type Runner, RunnerLost, type Task, type Watching } from './runner.ts';

/** Runs tasks when told to, in the test's own time. */
class ByHand implements Runner {
  readonly tasks: { task: Task; watching: Watching; end(error?: Error): void }[] = [];

  constructor(readonly capacity = 1) {}

  run<K extends 'generate'>(task: Task<K>, watching: Watching): Promise<never> {
    return new Promise((resolve, reject) => {
      const end = (error?: Error) => (error ? reject(error) : resolve({ files: [], report: {} } as never));
      this.tasks.push({ task, watching, end });
      watching.signal.addEventListener('abort', () => end(new DejaDitError('ABORTED', 'the request was aborted')));
    });
  }

  get last() {
    return this.tasks.at(-1)!;
  }
}

const make = ({ capacity = 1, ...options }: Partial<JobsOptions> & { capacity?: number } = {}) => {
  const runner = new ByHand(capacity);
  return { runner, jobs: new Jobs({ runner, modelOf: (name) => name ?? 'some', ...options }) };
};
const ask = (prompt: string, more: Partial<JobRequest<'generate'>> = {}): JobRequest<'generate'> => ({
  kind: 'generate',
  input: { options: { prompt } },
  ...more,
});
const ids = (jobs: readonly Job[]) => jobs.map(({ id }) => id);
const all = async (jobs: Jobs, id: string, from = 0): Promise<JobEvent[]> => {
  const events: JobEvent[] = [];
  for await (const { event } of jobs.events(id, { from })) events.push(event);
  return events;
};

describe('the queue', () => {
  it('starts the highest priority first, equal ones in their order, as many as the runner takes', async () => {
    const { runner, jobs } = make({ capacity: 2 });
    const [a, b, c, d, e] = [0, 0, 1, 5, 1].map((priority) => jobs.submit(ask('x', { priority })));
    expect(ids(jobs.list().running)).toEqual(ids([a!, b!]));
    expect(ids(jobs.list().queued)).toEqual(ids([d!, c!, e!]));
    runner.tasks[0]!.end();
    await jobs.finished(a!.id);
    expect(d!.state).toBe('running');
    await jobs.close();
  });

  it('refuses more than may wait, unknown models, and anything while it ends', async () => {
    const { jobs } = make({
      maxQueued: 1,
      modelOf: (name) => {
        if (name === 'no') throw new DejaDitError('NOT_FOUND', 'no such model');
        return 'some';
      },
    });
    expect(() => jobs.submit(ask('x', { model: 'no' }))).toThrow(/no such model/);
    jobs.submit(ask('runs'));
    jobs.submit(ask('waits'));
    expect(() => jobs.submit(ask('too many'))).toThrow(expect.objectContaining({ code: 'BUSY' }));
    await jobs.close();
    expect(() => jobs.submit(ask('late'))).toThrow(/ending/);
    expect(jobs.counts).toEqual({ queued: 0, running: 0, finished: 0, resultBytes: 0 });
  });

  it('ends what waits at once, and what runs by its signal', async () => {
    const { runner, jobs } = make();
    const [first, second] = [jobs.submit(ask('a')), jobs.submit(ask('b'))];
    expect(jobs.cancel(second.id)).toMatchObject({ state: 'cancelled' });
    expect(jobs.cancel(first.id)).toMatchObject({ state: 'running', cancelling: true });
    expect(runner.last.watching.signal.aborted).toBe(true);
    expect(await jobs.finished(first.id)).toMatchObject({ state: 'cancelled', cancelling: false, error: undefined });
    expect(runner.tasks).toHaveLength(1);
    expect(jobs.cancel('nobody')).toBeUndefined();
  });

  it('lets nothing run beside a job that is to be alone', async () => {
    const { runner, jobs } = make({ capacity: 3 });
    const [a, b, c] = [jobs.submit(ask('a')), jobs.submit(ask('b', { alone: true })), jobs.submit(ask('c'))];
    expect(runner.tasks).toHaveLength(1);
    for (const job of [a, b, c]) {
      expect(jobs.list().running).toEqual([job]);
      runner.last.end();
      await jobs.finished(job.id);
    }
  });

  it('ends what takes too long, as an error', async () => {
    const { jobs } = make({ timeout: 0.05 });
    const { id } = jobs.submit(ask('x', { timeout: 1000 }));
    expect((await jobs.finished(id)).error).toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringMatching(/0.05 s/),
    });
  });
});

describe('a lost runner', () => {
  it('fails the job that it had alone, and gives each of several another chance by itself', async () => {
    const { runner, jobs } = make({ capacity: 2 });
    const [a, b] = [jobs.submit(ask('a')), jobs.submit(ask('b'))];
    for (const { end } of [...runner.tasks]) end(new RunnerLost('gone', false));
    await vi.waitFor(() => expect(runner.tasks).toHaveLength(3));
    expect([a.state, b.state]).toEqual(['running', 'queued']);
    runner.last.end(new RunnerLost('gone', true));
    expect((await jobs.finished(a.id)).error).toEqual({ code: 'RUNTIME', message: 'gone' });
    runner.last.end();
    expect(await jobs.finished(b.id)).toMatchObject({ state: 'done' });
    expect((await all(jobs, b.id)).map(({ type }) => type)).toEqual(['queued', 'started', 'queued', 'started', 'done']);
  });
});

describe('events', () => {
  it('reach whoever comes early, late and in between, in order; of previews the last is kept', async () => {
    const { runner, jobs } = make();
    const { id } = jobs.submit(ask('x'));
    const early = all(jobs, id);
    const { onEvent } = runner.last.watching;
    const file = { type: 'image/jpeg', bytes: new Uint8Array(9), width: 3, height: 1 };
    const step = (n: number, action: 'compute' | 'reuse') =>
      onEvent({ type: 'step', step: n, steps: 3, action, branches: {}, time: 1 });
    step(1, 'compute');
    onEvent({ type: 'preview', step: 1, index: 0, file });
    await new Promise(setImmediate);
    step(2, 'reuse');
    onEvent({ type: 'preview', step: 2, index: 1, file });
    expect(jobs.get(id)).toMatchObject({ progress: { step: 2, steps: 3, reusedSteps: 1 }, preview: file });
    step(3, 'reuse');
    runner.last.end();
    const course = ['queued', 'started', 'step', 'preview', 'step', 'preview', 'step', 'done'];
    expect((await early).map(({ type }) => type)).toEqual(course);
    expect((await all(jobs, id)).map(({ type }) => type)).toEqual(course.toSpliced(3, 1));
    expect((await all(jobs, id, 6)).map(({ type }) => type)).toEqual(['step', 'done']);
    expect(() => jobs.events('nobody')).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
  });

  it('stop for a reader who has gone, and for them alone', async () => {
    const { runner, jobs } = make();
    const { id } = jobs.submit(ask('x'));
    const gone = new AbortController();
    const waiting = jobs.finished(id, gone.signal);
    gone.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' });
    runner.last.end();
    expect(await jobs.finished(id)).toMatchObject({ state: 'done' });
  });

  it('tell watchers, who find the job as it then is', async () => {
    const { runner, jobs } = make();
    const heard: string[] = [];
    const stop = jobs.watch((job, { type }) => void heard.push(`${type} ${job.state} ${jobs.get(job.id) === job}`));
    const { id } = jobs.submit(ask('x'));
    runner.last.end(new DejaDitError('INVALID_ARGUMENT', 'wrong', { path: 'width' }));
    expect((await jobs.finished(id)).error).toEqual({
      code: 'INVALID_ARGUMENT',
      message: 'width: wrong',
      path: 'width',
    });
    stop();
    jobs.submit(ask('y'));
    expect(heard).toEqual(['queued queued true', 'started running true', 'failed failed true']);
    await jobs.close();
  });
});

describe('finished jobs', () => {
  const run = async (jobs: Jobs, runner: ByHand, size = 0) => {
    const image = new Uint8Array(size);
    const { id } = jobs.submit({ kind: 'generate', input: { options: { prompt: 'x', image } } });
    runner.last.end();
    await jobs.finished(id);
    return id;
  };

  it('go when there are too many, or they take too much; the newest stays', async () => {
    const { runner, jobs } = make({ keep: { count: 2, bytes: 10_000 } });
    const [a, b, c] = [await run(jobs, runner), await run(jobs, runner), await run(jobs, runner)];
    expect([a, b, c].map((id) => jobs.get(id!) !== undefined)).toEqual([false, true, true]);
    const large = await run(jobs, runner, 20_000);
    expect(ids(jobs.list().finished)).toEqual([large]);
    expect(jobs.forget(large)).toBe(true);
    expect(jobs.counts).toMatchObject({ finished: 0, resultBytes: 0 });
  });

  it('go when they are old', async () => {
    const { runner, jobs } = make({ keep: { age: 0.02 } });
    const id = await run(jobs, runner);
    await vi.waitFor(() => expect(jobs.get(id)).toBeUndefined());
  });
});

it('drains: what it has taken ends, for as long as it may', async () => {
  const { runner, jobs } = make();
  const [a, b] = [jobs.submit(ask('a')), jobs.submit(ask('b'))];
  const drained = jobs.drain(0.1);
  runner.last.end();
  await drained;
  expect([a.state, b.state]).toEqual(['done', 'cancelled']);
});
