/** Requests that step together: fewer runs, and what each gets alone. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { setWarningHandler } from '../../errors/warnings.ts';
import { relativeError } from '../../models/testing/golden.ts';
import { inOneThread } from '../../parallel/testing/ranks.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { bundledModel } from '../../weights/bundled-model.ts';
import { DiffusionPipeline } from '../diffusion-pipeline.ts';
import type { Pipeline } from '../pipeline.ts';
import type { GenerateOptions } from '../schema/options.ts';
import type { PipelineRequest } from './request.ts';
import { stepsTogether } from './steps-together.ts';

let pipe: Pipeline;
let restore: Parameters<typeof setWarningHandler>[0];
beforeAll(async () => {
  restore = setWarningHandler(() => {});
  pipe = await DiffusionPipeline.fromPretrained(bundledModel());
});
afterAll(async () => {
  setWarningHandler(restore);
  await pipe.dispose();
});

const small = { numInferenceSteps: 3, width: 64, height: 64, outputType: 'latent' } as const;
const apple: GenerateOptions = { ...small, prompt: 'red apple', seed: 1 };

const alone = async (options: GenerateOptions): Promise<Tensor> => (await pipe.generate(options)).latents;

/** Takes rounds until all are done. @param arriving requests that join after so many rounds */
async function together(given: readonly GenerateOptions[], arriving: ReadonlyMap<number, GenerateOptions> = new Map()) {
  const requests: PipelineRequest[] = [];
  const { runner } = pipe.transformers['transformer']!;
  const spies = [vi.spyOn(runner, 'run'), vi.spyOn(runner, 'runTogether')];
  try {
    for (const options of given) requests.push(await pipe.begin(options));
    const failures: unknown[] = [];
    const runs: number[] = [];
    for (let round = 0; requests.some(({ done }) => !done) && round < 20; round++) {
      const newcomer = arriving.get(round);
      if (newcomer) requests.push(await pipe.begin(newcomer));
      const active = requests.filter((request) => !request.done && !failures[requests.indexOf(request)]);
      if (active.length === 0) break;
      for (const run of spies) run.mockClear();
      const results = await Promise.allSettled(await stepsTogether(active.map(({ denoising }) => denoising)));
      runs.push(spies.reduce((sum, run) => sum + run.mock.calls.length, 0));
      for (const [i, result] of results.entries())
        if (result.status === 'rejected') failures[requests.indexOf(active[i]!)] = result.reason;
    }
    const summaries = await Promise.all(requests.map(async (request) => (await request.finish()).summary));
    return { latents: requests.map(({ denoising }) => denoising.latents), runs, failures, summaries };
  } finally {
    for (const run of spies) run.mockRestore();
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

  it.each([{ ulysses: 2 }, { tensor: 2 }])('on ranks: %j', async (size) => {
    const requests = [apple, { ...apple, prompt: 'pizza', seed: 2 }].map((options) => ({
      ...options,
      numInferenceSteps: 2,
    }));
    const expected = [];
    for (const options of requests) expected.push(await alone(options));
    const model = pipe.transformers['transformer']!;
    model.moveTo(inOneThread(model, size));
    const { latents, runs } = await together(requests);
    expect(runs).toEqual([1, 1]);
    for (const [i, tensor] of latents.entries()) expect(relativeError(tensor, expected[i]!)).toBeLessThan(1e-5);
    const { collectives } = model.programs.backend.ranksReport!;
    expect(Object.keys(collectives)).toContain('ulysses' in size ? 'allToAll' : 'allReduce');
    model.moveTo();
  });

  it('let newcomers join and others leave, and keep other sizes apart', async () => {
    const wide = { ...apple, width: 96 };
    const late = { ...apple, seed: 5, numInferenceSteps: 2 };
    const { latents, runs } = await together([apple, wide], new Map([[1, late]]));
    expect(runs).toEqual([2, 2, 2]);
    for (const [i, options] of [apple, wide, late].entries())
      expect(relativeError(latents[i]!, await alone(options)), `request ${i}`).toBeLessThan(1e-5);
  });

  const eager = { residualDiffThreshold: 1, maxWarmupSteps: 1 };
  const six = { ...apple, numInferenceSteps: 5 };
  it.each<[string, NonNullable<GenerateOptions['cache']>]>([
    ['an error budget', { cacheConfig: { errorBudget: 0.3, maxWarmupSteps: 2 } }],
    [
      'tokens that have moved, and TaylorSeer',
      {
        cacheConfig: { ...eager, importantConditionThreshold: 0.01 },
        calibratorConfig: { type: 'taylorseer', taylorseerOrder: 2 },
      },
    ],
    ['DBPrune', { cacheConfig: { ...eager, cacheType: 'DBPrune', residualDiffThreshold: 0.4 } }],
    ['EasyCache', { cacheConfig: { ...eager, cacheType: 'EasyCache' } }],
    ['cache-dit itself', { cacheConfig: { ...eager, compat: 'cache-dit' } }],
  ])('compute those with a cache as one where they decide alike: by %s', async (_, cache) => {
    const requests = [
      { ...six, cache },
      { ...six, cache, prompt: 'pizza', seed: 2 },
      { ...six, cache, seed: 3, trueCfgScale: 3, negativePrompt: 'red' },
      { ...six, cache, seed: 4 },
    ];
    const { latents, summaries, runs } = await together(requests);
    let separate = 0;
    const { runner } = pipe.transformers['transformer']!;
    for (const [i, options] of requests.entries()) {
      const run = vi.spyOn(runner, 'run');
      const { latents: expected, summary } = await pipe.generate(options);
      separate += run.mock.calls.length;
      run.mockRestore();
      // The same decisions, and what they come to.
      expect(summaries[i]!.map(({ cachedSteps }) => cachedSteps)).toEqual(
        summary.map(({ cachedSteps }) => cachedSteps),
      );
      expect(relativeError(latents[i]!, expected), `request ${i}`).toBeLessThan(1e-5);
    }
    expect(runs.reduce((sum, count) => sum + count)).toBeLessThan(0.6 * separate);
  });

  it('compute a step in groups where some re-use and others do not, and newcomers compute by themselves', async () => {
    const cached = { ...six, cache: { cacheConfig: eager } };
    const careful = { ...six, seed: 7, cache: { cacheConfig: { ...eager, residualDiffThreshold: 1e-9 } } };
    const requests = [cached, careful, { ...cached, seed: 8 }, six, { ...cached, numImages: 2 }];
    const late = { ...cached, seed: 9 };
    const { latents, summaries } = await together(requests, new Map([[2, late]]));
    for (const [i, options] of [...requests, late].entries())
      expect(relativeError(latents[i]!, await alone(options)), `request ${i}`).toBeLessThan(1e-5);
    expect(summaries.map(([stats]) => stats!.cachedSteps.length > 0)).toEqual([true, false, true, false, true, true]);
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
    const { runner } = pipe.transformers['transformer']!;
    const failing = vi.spyOn(runner, 'runTogether').mockRejectedValueOnce(new Error('no memory'));
    const requests = [await pipe.begin(apple), await pipe.begin({ ...apple, seed: 2 })];
    const results = await Promise.allSettled(await stepsTogether(requests.map(({ denoising }) => denoising)));
    for (const request of requests) request.end();
    failing.mockRestore();
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
  });
});
