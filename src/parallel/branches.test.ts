/**
 * Guidance branches that are calls of their own, each on ranks of its own: what a request gets, and what its cache decides, is what one process computes
 * and decides.
 */
import { rmSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { enableCache } from '../api/enable-cache.ts';
import { relativeError } from '../models/testing/golden.ts';
import { DiffusionPipeline } from '../pipelines/diffusion-pipeline.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import type { GenerateOptions, GenerateResult } from '../pipelines/schema/options.ts';
import { assembleCheckpoint, optionsOf, readRecording } from '../pipelines/testing/recorded.ts';
import { bundledModel } from '../weights/bundled-model.ts';
import type { ParallelBackend } from './backend/parallel-backend.ts';
import type { MeshSize } from './partition/mesh.ts';
import { inOneThread } from './testing/ranks.ts';

const request = {
  ...{ prompt: 'red apple', negativePrompt: 'blue', trueCfgScale: 3, seed: 7 },
  ...{ width: 32, height: 32, numInferenceSteps: 4, outputType: 'latent' as const },
};
const caching = (residualDiffThreshold: number) => ({
  cacheConfig: { Fn: 1, maxWarmupSteps: 1, residualDiffThreshold },
});
const cache = caching(0.3);
const shared = { cacheConfig: { ...cache.cacheConfig, cfgDiffComputeSeparate: false } };

/** All transformers of a pipeline; undefined: back to one process. */
function move({ transformers }: Pipeline, size: Partial<MeshSize> | undefined): ParallelBackend[] {
  const models = Object.values(transformers);
  for (const model of models) model.moveTo(size && inOneThread(model, size));
  return size ? models.map(({ programs }) => programs.backend as ParallelBackend) : [];
}

const decisions = ({ summary }: GenerateResult) =>
  summary.map(({ calls }) => calls.map(({ action, branch }) => [branch, action]));

function expectTheSame(together: GenerateResult, alone: GenerateResult): void {
  expect(relativeError(together.latents, alone.latents)).toBeLessThan(1e-5);
  expect(decisions(together)).toEqual(decisions(alone));
}

/** Every rank has had something to do. */
async function expectAllBusy(backends: readonly ParallelBackend[]): Promise<void> {
  for (const { crew } of backends)
    for (const { backend } of (await crew.ranks()).ranks) expect(backend.live.programs).toBeGreaterThan(0);
}

let pipe: Pipeline;

describe('of the bundled model', () => {
  beforeEach(async () => {
    pipe = await DiffusionPipeline.fromPretrained(bundledModel());
  });
  afterEach(() => pipe[Symbol.asyncDispose]());

  it.each([
    [{ batch: 2 }, 'everything computed', false],
    [{ batch: 2 }, 'with a cache', cache],
    [{ batch: 2 }, 'with a cache that shares differences', shared],
    [{ batch: 2, tensor: 2 }, 'with a cache', cache],
    [{ batch: 2, ulysses: 2 }, 'with a cache', cache],
  ] as const)('on %j, %s', async (size, _, cache) => {
    const alone = await pipe.generate({ ...request, cache });
    const backends = move(pipe, size);
    expectTheSame(await pipe.generate({ ...request, cache }), alone);
    await expectAllBusy(backends);
  });

  it('refuses ranks that would have nothing to do', async () => {
    move(pipe, { batch: 2 });
    const { negativePrompt: _, ...guided } = request;
    const unguided = { ...guided, trueCfgScale: 1 };
    await expect(pipe.generate(unguided)).rejects.toThrow(
      'parallelismConfig.cfgSize: 2 groups of ranks for calls of 1 sample(s), of which there is one a step: 1 would have nothing to do',
    );
    await pipe.generate({ ...unguided, numImages: 2 });
  });
});

it('shares out samples, and no calls, of a model whose blocks are read from the file by threads', async () => {
  const options = { layerwiseOffload: true };
  await using offloaded = await DiffusionPipeline.fromPretrained(bundledModel(), options);
  const { trueCfgScale: _, negativePrompt: __, ...unguided } = request;
  const alone = await offloaded.generate({ ...unguided, numImages: 2 });
  enableCache(offloaded, { cacheConfig: null, parallelismConfig: { cfgSize: 2 } });
  const together = await offloaded.generate({ ...unguided, numImages: 2 });
  expect(relativeError(together.latents, alone.latents)).toBeLessThan(1e-5);
  await expect(offloaded.generate(request)).rejects.toThrow(
    /cfgSize: threads share the blocks .* would take turns: make ranks of processes \(deja-dit launch\)/,
  );
});

interface Case {
  /** Of a recording, and of one of its runs. */
  name: string;
  run: string;
  changes: GenerateOptions;
  /** Of a cache. Default: none. */
  threshold?: number;
}

/**
 * Families that call the model for each branch: with masks or without, two pictures a branch, one or two transformers; and one whose branches are samples
 * of one call, where a step without guidance has one sample.
 */
describe.each<Case>([
  { name: 'qwenimage', run: 'uncached', changes: { numInferenceSteps: 4 }, threshold: 1 },
  { name: 'qwenimage', run: 'prompts', changes: { numInferenceSteps: 1 } },
  { name: 'wan', run: 'prompts', changes: { numInferenceSteps: 2 } },
  { name: 'wan22_moe', run: 'uncached', changes: { numInferenceSteps: 2 } },
  { name: 'hunyuanvideo', run: 'truecfg', changes: { numInferenceSteps: 2 } },
  { name: 'zimage', run: 'normalised', changes: { numInferenceSteps: 2 } },
  { name: 'zimage', run: 'normalised', changes: { numInferenceSteps: 2, guidanceInterval: [0, 0.5] } },
])('of $name, $run, $changes', ({ name, run, changes, threshold }) => {
  let options: GenerateOptions;
  let alone: GenerateResult;

  beforeAll(async () => {
    const { checkpoint, runs } = readRecording(name);
    const root = assembleCheckpoint(checkpoint);
    try {
      pipe = await DiffusionPipeline.fromPretrained(root);
    } finally {
      rmSync(root, { recursive: true });
    }
    const recorded = await optionsOf(name, runs.find((one) => one.name === run)!);
    options = {
      ...recorded,
      ...changes,
      outputType: 'latent',
      cache: threshold === undefined ? false : caching(threshold),
    };
    alone = await pipe.generate(options);
  });
  afterAll(() => pipe[Symbol.asyncDispose]());
  afterEach(() => void move(pipe, undefined));

  it.each<Partial<MeshSize>>([
    { batch: 2 },
    { batch: 2, tensor: 2 },
    { batch: 2, ulysses: 2 },
  ])('on %j', async (size) => {
    const backends = move(pipe, size);
    expectTheSame(await pipe.generate(options), alone);
    await expectAllBusy(backends);
    if (threshold !== undefined) expect(decisions(alone).flat(2)).toContain('reuse');
  });
});
