/** Requests that step together: fewer runs, and what each gets alone. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { relativeError } from '../../models/testing/golden.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { bundledModel } from '../../weights/bundled-model.ts';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import type { Pipeline } from '../pipeline.ts';
import type { GenerateOptions } from '../schema/options.ts';
import type { PipelineRequest } from './request.ts';
import { stepsTogether } from './steps-together.ts';

let pipe: Pipeline;
beforeAll(async () => {
  pipe = await DiffusionPipeline.fromPretrained(bundledModel());
});
afterAll(() => pipe.dispose());

const small = { numInferenceSteps: 3, width: 64, height: 64, outputType: 'latent' } as const;
const apple: GenerateOptions = { ...small, prompt: 'red apple', seed: 1 };

const alone = async (options: GenerateOptions): Promise<Tensor> => (await pipe.generate(options)).latents;

/** Takes rounds until all are done. @param arriving requests that join after so many rounds */
async function together(given: readonly GenerateOptions[], arriving: ReadonlyMap<number, GenerateOptions> = new Map()) {
  const requests: PipelineRequest[] = [];
  const run = vi.spyOn(pipe.transformers['transformer']!.runner, 'run');
  try {
    for (const options of given) requests.push(await pipe.begin(options));
    const failures: unknown[] = [];
    const runs: number[] = [];
    for (let round = 0; requests.some(({ done }) => !done) && round < 20; round++) {
      const newcomer = arriving.get(round);
      if (newcomer) requests.push(await pipe.begin(newcomer));
      const active = requests.filter((request) => !request.done && !failures[requests.indexOf(request)]);
      if (active.length === 0) break;
      run.mockClear();
      const results = await stepsTogether(active.map(({ denoising }) => denoising));
      runs.push(run.mock.calls.length);
      for (const [i, result] of results.entries())
        if (result.status === 'rejected') failures[requests.indexOf(active[i]!)] = result.reason;
    }
    return { latents: requests.map(({ denoising }) => denoising.latents), runs, failures };
  } finally {
    run.mockRestore();
    for (const request of requests) request.end();
  }
}

describe('steps together', () => {
  it('take one run where shapes are the same: of several requests, prompts, pictures and guidance branches', async () => {
    const requests = [
      apple,
      { ...apple, prompt: 'pizza', seed: 2, negativePrompt: 'red' },
      { ...apple, seed: 3, trueCfgScale: 3 },
    ];
    const { latents, runs } = await together([...requests, { ...apple, seed: 4, trueCfgScale: 1 }]);
    // Seven calls, as four, two and one.
    expect(runs).toEqual([3, 3, 3]);
    for (const [i, options] of requests.entries())
      expect(relativeError(latents[i]!, await alone(options)), `request ${i}`).toBeLessThan(1e-5);
  });

  it('let newcomers join and others leave, and keep other sizes apart', async () => {
    const wide = { ...apple, width: 96 };
    const late = { ...apple, seed: 5, numInferenceSteps: 2 };
    const { latents, runs } = await together([apple, wide], new Map([[1, late]]));
    expect(runs).toEqual([2, 2, 2]);
    for (const [i, options] of [apple, wide, late].entries())
      expect(relativeError(latents[i]!, await alone(options)), `request ${i}`).toBeLessThan(1e-5);
  });

  it('leave a request with a cache to itself, bit for bit', async () => {
    const cached = {
      ...apple,
      numInferenceSteps: 6,
      cache: { cacheConfig: { residualDiffThreshold: 1, maxWarmupSteps: 1 } },
    };
    const { latents } = await together([apple, cached, { ...apple, seed: 6 }]);
    expect(latents[1]!.data).toEqual((await alone(cached)).data);
  });

  it('end what is aborted, and nothing else', async () => {
    const gone = new AbortController();
    const { latents, failures } = await together([
      apple,
      { ...apple, seed: 2, signal: gone.signal, onStep: () => gone.abort() },
    ]);
    expect(failures[1]).toMatchObject({ code: 'ABORTED' });
    expect(failures[0]).toBeUndefined();
    expect(relativeError(latents[0]!, await alone(apple))).toBeLessThan(1e-5);
  });

  it('answer the others alone where their common run fails', async () => {
    const run = pipe.transformers['transformer']!.runner;
    const compute = run.run.bind(run);
    const failing = vi.spyOn(run, 'run').mockImplementationOnce(async (asked) => {
      // As a machine without memory for all of them: what the run was given is its own.
      for (const tensor of Object.values(asked.state)) tensor.dispose();
      throw new Error('no memory');
    });
    failing.mockImplementation(compute);
    const requests = [await pipe.begin(apple), await pipe.begin({ ...apple, seed: 2 })];
    const results = await stepsTogether(requests.map(({ denoising }) => denoising));
    for (const request of requests) request.end();
    failing.mockRestore();
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
  });
});
