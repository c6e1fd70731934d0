/** The pool itself, in this process: what the server's tests cannot do to the engine's. */
import { Worker } from 'node:worker_threads';
import { expect, it, vi } from 'vitest';
import { OrderlyWorker } from '../../runtime/worker/orderly-worker.ts';
import { bundledModel } from '../../weights/bundled-model.ts';
import { ModelPool } from './model-pool.ts';

it('loads a model anew whose thread was lost', async () => {
  const states: string[] = [];
  const models = [{ name: 'emoji', source: bundledModel() }];
  const pool = new ModelPool(
    { models, memory: Number.POSITIVE_INFINITY, load: {}, lora: undefined, loraDir: undefined, cache: undefined },
    (_, { state }) => states.push(state),
  );
  const posted = vi.spyOn(OrderlyWorker.prototype, 'postMessage');
  const first = await pool.acquire('emoji');
  const thread = posted.mock.contexts[0] as OrderlyWorker;
  posted.mockRestore();
  const request = { prompt: 'red apple', height: 16, width: 16, numInferenceSteps: 1, seed: 1 };
  await first.pipe.generate(request);
  // Not asked to end, but ended.
  await Worker.prototype.terminate.call(thread);
  await expect(first.pipe.generate(request)).rejects.toThrow(/the worker thread ended/);
  first.release();

  const [second, third] = await Promise.all([pool.acquire('emoji'), pool.acquire('emoji')]);
  expect(second.pipe).not.toBe(first.pipe);
  expect(third.pipe).toBe(second.pipe);
  await second.pipe.generate(request);
  for (const { release } of [second, third]) release();
  await pool.dispose();
  expect(states).toEqual(['loading', 'loaded', 'loading', 'loaded', 'unloaded']);
});
