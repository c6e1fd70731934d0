/** Who owns what, and what happens when it is taken away: in the middle of a request, by several at once, for good. */
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { disableCache, type EnableCacheOptions, enableCache } from '../api/enable-cache.ts';
import { setWarningHandler } from '../errors/warnings.ts';
import { defaultPrograms } from '../models/load/programs.ts';
import { observe } from '../quantize/calibrate.ts';
import { quantize } from '../quantize/quantize.ts';
import type { Backend, Executable, Live } from '../runtime/backend.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { WrappedBackend } from '../runtime/wrapped-backend.ts';
import { dims, floatTensor } from '../tensor/tensor.ts';
import { DiffusionPipeline } from './diffusion-pipeline.ts';
import { loadLora, unloadLora } from './lora/lora.ts';
import type { Pipeline } from './pipeline.ts';
import type { GenerateOptions } from './schema/options.ts';

const model = path.resolve(import.meta.dirname, '../../models/emoji-flux');
const nothing: Live = { tensors: 0, bytes: 0, programs: 0 };
const disposed = expect.objectContaining({ code: 'DISPOSED' });
const busy = expect.objectContaining({ code: 'BUSY' });

let restore: Parameters<typeof setWarningHandler>[0];
beforeAll(() => {
  restore = setWarningHandler(() => {});
});
afterAll(() => void setWarningHandler(restore));

const request: GenerateOptions = { prompt: 'red apple', width: 64, height: 64, numInferenceSteps: 6, seed: 1 };

/** A request that is under way: `atStep` is called in the middle of it. */
const during = (pipe: Pipeline, atStep: () => unknown) =>
  pipe.generate({
    ...request,
    onStep: async ({ step }) => {
      if (step === 3) await atStep();
    },
  });

/** A rank-1 LoRA of one layer. */
function lora(pipe: Pipeline) {
  const { weights } = pipe.transformers.transformer!;
  const layer = 'transformer_blocks.0.attn.to_q';
  const [out, columns] = dims(weights.info(`${layer}.weight`)!, 2);
  return {
    [`transformer.${layer}.lora_A.weight`]: floatTensor(new Float32Array(columns).fill(0.1), [1, columns]),
    [`transformer.${layer}.lora_B.weight`]: floatTensor(new Float32Array(out).fill(0.1), [out, 1]),
  };
}

describe('what a request leaves', () => {
  const caches: Record<string, EnableCacheOptions | undefined> = {
    'no cache': undefined,
    DBCache: { cacheConfig: { maxWarmupSteps: 1, residualDiffThreshold: 0.9 } },
    TaylorSeer: {
      cacheConfig: { maxWarmupSteps: 2, residualDiffThreshold: 0.9 },
      calibratorConfig: { type: 'taylorseer', order: 2 },
    },
    probe: { cacheConfig: { maxWarmupSteps: 2, residualDiffThreshold: 0.9 }, calibratorConfig: { type: 'probe' } },
    'error budget': { cacheConfig: { maxWarmupSteps: 2, errorBudget: 0.3 }, calibratorConfig: { type: 'dmd' } },
    DBPrune: { cacheConfig: { cacheType: 'DBPrune', maxWarmupSteps: 1, residualDiffThreshold: 0.5 } },
    EasyCache: { cacheConfig: { cacheType: 'EasyCache', maxWarmupSteps: 2, residualDiffThreshold: 0.9 } },
  };

  /** Runs fail when told to. */
  class FailingBackend extends WrappedBackend {
    countdown = Number.POSITIVE_INFINITY;

    override async compile(graph: Parameters<Backend['compile']>[0]): Promise<Executable> {
      const { run, dispose } = await super.compile(graph).then((executable) => ({
        run: executable.run.bind(executable),
        dispose: executable.dispose.bind(executable),
      }));
      return {
        dispose,
        run: async (inputs) => {
          if (--this.countdown === 0) throw new Error('out of memory');
          return run(inputs);
        },
      };
    }
  }

  describe.each([false, true])('worker: %s', (worker) => {
    let backend: FailingBackend;
    let pipe: Pipeline;
    let loaded: Live;
    beforeAll(async () => {
      backend = new FailingBackend(await createBackend({ worker }));
      pipe = await DiffusionPipeline.fromPretrained(model, { programs: new ProgramCache(backend) });
      loaded = { ...backend.live };
    });
    afterAll(async () => {
      await pipe.dispose();
      expect(backend.live).toEqual(nothing);
      await backend.dispose();
    });

    it.each(Object.entries(caches))('%s: nothing, whether it succeeds, is aborted or fails', async (_, cache) => {
      if (cache) enableCache(pipe, cache);
      const { tensors, bytes } = loaded;
      await pipe.generate(request);
      expect(backend.live).toMatchObject({ tensors, bytes });
      const controller = new AbortController();
      const onStep = ({ step }: { step: number }) => void (step === 4 && controller.abort());
      const aborted = pipe.generate({ ...request, signal: controller.signal, onStep });
      await expect(aborted).rejects.toThrow(expect.objectContaining({ code: 'ABORTED' }));
      expect(backend.live).toMatchObject({ tensors, bytes });
      // The text encoder, the first step, one that decides in its middle.
      for (const countdown of [1, 2, 6, 7]) {
        backend.countdown = countdown;
        await expect(pipe.generate(request)).rejects.toThrow('out of memory');
        expect(backend.live, `after run ${countdown} had failed`).toMatchObject({ tensors, bytes });
      }
      backend.countdown = Number.POSITIVE_INFINITY;
      disableCache(pipe);
    });

    it('a calibration: nothing', async () => {
      const { tensors, bytes } = loaded;
      await observe({ models: Object.values(pipe.transformers), run: () => pipe.generate(request), calls: 2 });
      expect(backend.live).toMatchObject({ tensors, bytes });
      const fails = observe({
        models: Object.values(pipe.transformers),
        run: async () => {
          await pipe.generate({ ...request, numInferenceSteps: 1 });
          throw new Error('no');
        },
      });
      await expect(fails).rejects.toThrow('no');
      expect(backend.live).toMatchObject({ tensors, bytes });
    });
  });
});

describe.each([
  ['cpu', {}],
  ['worker', { worker: true }],
] as const)('taken away during a request, %s', (_, options) => {
  let backend: Backend;
  let pipe: Pipeline;
  beforeEach(async () => {
    backend = await createBackend({ ...options, threads: 1 });
    pipe = await DiffusionPipeline.fromPretrained(model, { programs: new ProgramCache(backend) });
  });
  afterEach(async () => {
    await pipe.dispose();
    await backend.dispose();
    expect(backend.live).toEqual(nothing);
  });

  it('the pipeline: that request ends as DISPOSED, others are refused', async () => {
    let gone: Promise<void> | undefined;
    const taken = during(pipe, () => {
      gone = pipe.dispose();
    });
    await expect(taken).rejects.toThrow(disposed);
    await gone;
    expect(backend.live).toEqual(nothing);
    await expect(pipe.generate(request)).rejects.toThrow(disposed);
  });

  it('the pipeline, awaited in the request itself', async () => {
    await expect(pipe.generate({ ...request, onStep: () => pipe.dispose() })).rejects.toThrow(disposed);
  });

  it('the backend: every request ends as DISPOSED', async () => {
    const requests = [during(pipe, () => backend.dispose()), during(pipe, () => {}), during(pipe, () => {})];
    for (const outcome of await Promise.allSettled(requests))
      expect(outcome).toMatchObject({ status: 'rejected', reason: disposed });
  });
});

describe('weights that change', () => {
  let pipe: Pipeline;
  beforeAll(async () => {
    pipe = await DiffusionPipeline.fromPretrained(model, { threads: 1 });
  });
  afterAll(async () => {
    const { backend } = pipe.programs;
    await pipe.dispose();
    // The pipeline had a backend of its own.
    expect(backend.closed).toBe(true);
    expect(backend.live).toEqual(nothing);
  });

  it('not during a request, which goes on as it began', async () => {
    const expected = (await pipe.generate(request)).latents.data;
    await loadLora(pipe, lora(pipe), { name: 'before' });
    unloadLora(pipe, 'before');
    let attempts: Promise<PromiseSettledResult<unknown>[]> | undefined;
    const { latents } = await during(pipe, () => {
      attempts = Promise.allSettled([loadLora(pipe, lora(pipe)), quantize(pipe, { quantType: 'int8_per_row' })]);
      return attempts;
    });
    for (const attempt of await attempts!) expect(attempt).toMatchObject({ status: 'rejected', reason: busy });
    expect(latents.data).toEqual(expected);

    await loadLora(pipe, lora(pipe));
    await during(pipe, () => expect(() => unloadLora(pipe)).toThrow(busy));
    unloadLora(pipe);
  });

  it('and no request while they do', async () => {
    let outcomes: Promise<PromiseSettledResult<unknown>[]> | undefined;
    const onProgress = ({ done }: { done: number }) => {
      if (done === 1) outcomes = Promise.allSettled([pipe.generate(request), quantize(pipe)]);
    };
    await quantize(pipe, { quantType: 'int8_per_row' }, { onProgress });
    for (const outcome of await outcomes!) expect(outcome).toMatchObject({ status: 'rejected', reason: busy });
    await pipe.generate(request);
  });
});

describe('what is shared', () => {
  it('a program that two pipelines use outlives the first', async () => {
    await using backend = await createBackend({ threads: 1 });
    const programs = new ProgramCache(backend);
    const [first, second] = [
      await DiffusionPipeline.fromPretrained(model, { programs }),
      await DiffusionPipeline.fromPretrained(model, { programs }),
    ];
    const { latents } = await first.generate(request);
    await second.generate(request);
    const { size, compiled } = programs.stats;
    await first.dispose();
    expect(programs.stats.size).toBe(size);
    expect((await second.generate(request)).latents.data).toEqual(latents.data);
    expect(programs.stats.compiled).toBe(compiled);
    await second.dispose();
    expect(backend.live).toEqual(nothing);
  });

  it('the default backend is made anew when it was disposed', async () => {
    const { backend } = await defaultPrograms();
    await backend.dispose();
    await using pipe = await DiffusionPipeline.fromPretrained(model);
    expect(pipe.programs.backend).not.toBe(backend);
    await pipe.generate({ ...request, numInferenceSteps: 1 });
  });

  it("is not disposed with a pipeline; 'programs' exclude a backend of the pipeline's own", async () => {
    await using backend = await createBackend({ threads: 1 });
    const programs = new ProgramCache(backend);
    await (await DiffusionPipeline.fromPretrained(model, { programs })).dispose();
    expect(backend.closed).toBe(false);
    await expect(DiffusionPipeline.fromPretrained(model, { programs, maxProgramBytes: 1e9 })).rejects.toThrow(
      /^maxProgramBytes: /,
    );
    await expect(DiffusionPipeline.fromPretrained(model, { maxProgramBytes: 0 })).rejects.toThrow(/^maxProgramBytes: /);
  });
});
