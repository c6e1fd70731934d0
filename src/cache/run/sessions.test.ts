/** State belongs to the request: interleaved, aborted and failing requests leave nothing behind in others. */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { disableCache, type EnableCacheOptions, enableCache } from '../../api/enable-cache.ts';
import { summary } from '../../api/summary.ts';
import { setWarningHandler } from '../../errors/warnings.ts';
import type { Graph } from '../../graph/graph.ts';
import { AutoModel } from '../../models/auto-model.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import { fixtures } from '../../models/testing/golden.ts';
import type { ForwardSession, TransformerModel } from '../../models/transformer-model.ts';
import { DiffusionPipeline } from '../../pipelines/diffusion-pipeline.ts';
import type { Pipeline } from '../../pipelines/pipeline.ts';
import type { GenerateOptions } from '../../pipelines/schema/options.ts';
import type { DeviceTensor, Executable } from '../../runtime/backend.ts';
import { createBackend } from '../../runtime/create-backend.ts';
import { takeDown } from '../../runtime/host-tensors.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { WrappedBackend } from '../../runtime/wrapped-backend.ts';
import { Generator } from '../../tensor/generator.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { CacheSession } from './cache-session.ts';

/** A backend whose runs fail when told to. */
class FailingBackend extends WrappedBackend {
  /** Runs until one fails. */
  countdown = Number.POSITIVE_INFINITY;

  override async compile(graph: Graph): Promise<Executable> {
    const executable = await this.inner.compile(graph);
    return {
      run: async (inputs) => {
        if (--this.countdown === 0) throw new Error('out of memory');
        return executable.run(inputs);
      },
      dispose: () => executable.dispose(),
    };
  }
}

let restore: Parameters<typeof setWarningHandler>[0];
beforeAll(() => {
  restore = setWarningHandler(() => {});
});
afterAll(() => void setWarningHandler(restore));

interface Request {
  options: EnableCacheOptions;
  steps: number;
  imageTokens: number;
  textTokens: number;
  branches: readonly string[];
}

describe('sessions of one transformer', () => {
  let backend: FailingBackend;
  let model: TransformerModel;
  beforeAll(async () => {
    backend = new FailingBackend(await createBackend({ backend: 'cpu' }));
    const programs = new ProgramCache(backend);
    model = await AutoModel.fromPretrained(path.join(fixtures, 'models/flux'), { programs });
  });
  afterAll(async () => {
    await model.dispose();
    await backend.dispose();
  });

  /** A request's inputs drift, as latents do, and end in other places in its branches. */
  function inputsOf(
    { imageTokens, textTokens, branches }: Request,
    at: { step: number; branch: string },
  ): ForwardInputs {
    const { in_channels, joint_attention_dim, pooled_projection_dim } = model.config as Record<string, number>;
    const noise = (seed: number, shape: number[]) => new Generator(seed).randn(shape).f32;
    const shape = [1, imageTokens, in_channels!];
    const [start, drift] = [noise(1, shape), noise(2, shape)];
    const seed = 3 + branches.indexOf(at.branch);
    return {
      hidden_states: floatTensor(
        start.map((value, i) => value + 0.05 * at.step * drift[i]!),
        shape,
      ),
      encoder_hidden_states: floatTensor(noise(seed, [1, textTokens, joint_attention_dim!]), [
        1,
        textTokens,
        joint_attention_dim!,
      ]),
      pooled_projections: floatTensor(noise(seed, [1, pooled_projection_dim!]), [1, pooled_projection_dim!]),
      timestep: floatTensor([1 - at.step / 20]),
      guidance: floatTensor([3.5]),
      img_ids: floatTensor(Array.from({ length: imageTokens }, (_, i) => [0, i, 0]).flat(), [imageTokens, 3]),
      txt_ids: floatTensor(new Float32Array(3 * textTokens), [textTokens, 3]),
    };
  }

  const begin = (request: Request): ForwardSession => {
    enableCache(model, request.options);
    return model.newSession({ numInferenceSteps: request.steps, branches: request.branches });
  };

  /** The calls of a request, one at a time. */
  async function* calls(request: Request, session: ForwardSession): AsyncGenerator<number[]> {
    for (let step = 0; step < request.steps; step++) {
      for (const branch of request.branches) {
        const sample = await session.forward(model.prepare(inputsOf(request, { step, branch })), { branch });
        yield await valuesOf(sample);
      }
    }
    session.end();
  }

  async function valuesOf(sample: DeviceTensor): Promise<number[]> {
    const { values } = await takeDown(backend, { values: sample });
    return Array.from(values!.f32);
  }

  async function alone(request: Request): Promise<number[][]> {
    const outputs: number[][] = [];
    for await (const output of calls(request, begin(request))) outputs.push(output);
    return outputs;
  }

  const first: Request = {
    options: {
      cacheConfig: { residualDiffThreshold: 0.3, maxWarmupSteps: 2 },
      calibratorConfig: { type: 'probe', order: 1, snapshots: 3 },
    },
    steps: 10,
    imageTokens: 12,
    textTokens: 5,
    branches: ['cond', 'uncond'],
  };
  const others: Record<string, Request> = {
    'DBCache, Taylor, other sizes': {
      options: {
        cacheConfig: { Fn: 2, Bn: 1, residualDiffThreshold: 0.5, maxWarmupSteps: 3, maxContinuousCachedSteps: 2 },
        calibratorConfig: { type: 'taylorseer', order: 2 },
      },
      steps: 14,
      imageTokens: 6,
      textTokens: 9,
      branches: ['cond'],
    },
    DBPrune: {
      options: { cacheConfig: { cacheType: 'DBPrune', residualDiffThreshold: 0.2, maxWarmupSteps: 2 } },
      steps: 8,
      imageTokens: 12,
      textTokens: 5,
      branches: ['cond', 'uncond'],
    },
    DMD: {
      options: { cacheConfig: { residualDiffThreshold: 0.9, maxWarmupSteps: 4 }, calibratorConfig: { type: 'dmd' } },
      steps: 9,
      imageTokens: 12,
      textTokens: 5,
      branches: ['cond'],
    },
    'no cache': {
      options: { cacheConfig: { cacheType: 'NONE' } },
      steps: 9,
      imageTokens: 12,
      textTokens: 5,
      branches: ['cond'],
    },
  };

  it.each(Object.entries(others))('interleaved with %s, both give what each gives alone', async (_, other) => {
    const expected = [await alone(first), await alone(other)];
    const running = [calls(first, begin(first)), calls(other, begin(other))];
    const outputs: number[][][] = [[], []];
    const open = [0, 1];
    for (let turn = 0; open.length > 0; turn++) {
      // Two calls of the one, then one of the other: never in step.
      const which = open.length === 1 ? open[0]! : turn % 3 === 2 ? 1 : 0;
      const { done, value } = await running[which]!.next();
      if (done) open.splice(open.indexOf(which), 1);
      else outputs[which]!.push(value);
    }
    expect(outputs).toEqual(expected);
  });

  it('a request that re-uses steps is among them', async () => {
    await alone(first);
    expect(summary(model, { logging: false })[0]!.cachedSteps.length).toBeGreaterThan(2);
  });

  it('calls of one session that are not waited for run one after the other', async () => {
    const request = others['DBCache, Taylor, other sizes']!;
    const expected = await alone(request);
    const session = begin(request);
    const samples = await Promise.all(
      Array.from({ length: request.steps }, (_, step) =>
        session.forward(model.prepare(inputsOf(request, { step, branch: 'cond' })), { branch: 'cond' }),
      ),
    );
    const outputs = await Promise.all(samples.map(valuesOf));
    expect(outputs).toEqual(expected);
    session.end();
  });

  it.each([
    'aborted',
    'failing',
  ])('an %s call ends its request and frees its memory; the next one is as if it had never been', async (how) => {
    const expected = await alone(first);
    const session = begin(first) as CacheSession;
    expect(session).toBeInstanceOf(CacheSession);
    const running = calls(first, session);
    for (let call = 0; call < 9; call++) await running.next();
    expect(session.bytes).toBeGreaterThan(0);

    const controller = new AbortController();
    const inputs = model.prepare(inputsOf(first, { step: 4, branch: 'uncond' }));
    if (how === 'failing') backend.countdown = 2;
    const last = session.forward(inputs, { branch: 'uncond', signal: controller.signal });
    if (how === 'aborted') controller.abort();
    await expect(last).rejects.toThrow(how === 'aborted' ? 'aborted' : 'out of memory');
    expect(session.bytes).toBe(0);
    await expect(session.forward(inputs, { branch: 'uncond' })).rejects.toMatchObject({ code: 'DISPOSED' });
    backend.countdown = Number.POSITIVE_INFINITY;
    expect(await alone(first)).toEqual(expected);
  });

  it('bare calls: one that fails ends the request they form', async () => {
    disableCache(model);
    enableCache(model, { cacheConfig: { residualDiffThreshold: 1, maxWarmupSteps: 1 } });
    const forward = (step: number) => model.forward(inputsOf(first, { step, branch: 'cond' }));
    const actions = () => summary(model, { logging: false })[0]!.calls.map(({ step, action }) => `${step} ${action}`);
    await forward(0);
    await forward(1);
    expect(actions()).toEqual(['0 compute', '1 reuse']);
    backend.countdown = 1;
    await expect(forward(2)).rejects.toThrow('out of memory');
    backend.countdown = Number.POSITIVE_INFINITY;
    await forward(2);
    expect(actions()).toEqual(['0 compute']);
  });

  it('wrong inputs are refused before the request counts them', async () => {
    enableCache(model, { cacheConfig: { residualDiffThreshold: 1, maxWarmupSteps: 1 } });
    await model.forward(inputsOf(first, { step: 0, branch: 'cond' }));
    await expect(model.forward({})).rejects.toThrow('missing input');
    await model.forward(inputsOf(first, { step: 1, branch: 'cond' }));
    expect(summary(model, { logging: false })[0]!.cachedSteps).toEqual([1]);
  });

  it('a request under way keeps its settings when others are enabled', async () => {
    const expected = await alone(first);
    const running = calls(first, begin(first));
    const outputs: number[][] = [];
    for await (const output of running) {
      outputs.push(output);
      if (outputs.length === 5) enableCache(model, others['DBPrune']!.options);
      if (outputs.length === 9) disableCache(model);
    }
    expect(outputs).toEqual(expected);
  });
});

describe('requests of one pipeline', () => {
  let pipe: Pipeline;
  beforeAll(async () => {
    pipe = await DiffusionPipeline.fromPretrained(path.resolve(import.meta.dirname, '../../../models/emoji-flux'));
  });
  afterAll(() => pipe.dispose());

  const apple: GenerateOptions = {
    prompt: 'red apple',
    negativePrompt: '',
    numInferenceSteps: 9,
    width: 64,
    height: 64,
    seed: 1,
  };
  const unicorn: GenerateOptions = {
    prompt: 'a unicorn',
    trueCfgScale: 1,
    numInferenceSteps: 12,
    width: 96,
    height: 64,
    seed: 2,
  };
  const latentsOf = async (options: GenerateOptions) => [...(await pipe.generate(options)).latents.f32];

  it('run at the same time, and give bit for bit what each gives alone; one that is aborted leaves nothing', async () => {
    enableCache(pipe, {
      cacheConfig: { maxWarmupSteps: 2, residualDiffThreshold: 0.4 },
      calibratorConfig: { type: 'probe' },
    });
    const alone = [await latentsOf(apple), await latentsOf(unicorn)];
    expect(summary(pipe, { logging: false })[0]!.cachedSteps).not.toEqual([]);

    const order: string[] = [];
    const controller = new AbortController();
    const aborted = pipe.generate({
      ...unicorn,
      seed: 5,
      signal: controller.signal,
      onStep: ({ step }) => void (step === 4 && controller.abort()),
    });
    const together = await Promise.all([
      latentsOf({ ...apple, onStep: () => void order.push('apple') }),
      latentsOf({ ...unicorn, onStep: () => void order.push('unicorn') }),
      expect(aborted).rejects.toMatchObject({ code: 'ABORTED' }),
    ]);
    expect(together.slice(0, 2)).toEqual(alone);
    const changes = order.filter((name, i) => i > 0 && name !== order[i - 1]).length;
    expect(changes, order.join(' ')).toBeGreaterThan(8);
  });
});
