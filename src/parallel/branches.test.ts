/**
 * Guidance branches that are calls of their own, each on ranks of its own: what a request gets, and what its cache decides, is what one process computes
 * and decides.
 */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { enableCache } from '../api/enable-cache.ts';
import { relativeError } from '../models/testing/golden.ts';
import { DiffusionPipeline } from '../pipelines/diffusion-pipeline.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import { bundledModel } from '../weights/bundled-model.ts';
import type { ParallelBackend } from './backend/parallel-backend.ts';
import type { MeshSize } from './partition/mesh.ts';
import { inOneThread } from './testing/ranks.ts';

const request = {
  ...{ prompt: 'red apple', negativePrompt: 'blue', trueCfgScale: 3, seed: 7 },
  ...{ width: 32, height: 32, numInferenceSteps: 4, outputType: 'latent' as const },
};
const cache = { cacheConfig: { Fn: 1, maxWarmupSteps: 1, residualDiffThreshold: 0.3 } };
const shared = { cacheConfig: { ...cache.cacheConfig, cfgDiffComputeSeparate: false } };

let pipe: Pipeline;
beforeEach(async () => {
  pipe = await DiffusionPipeline.fromPretrained(bundledModel());
});
afterEach(() => pipe[Symbol.asyncDispose]());

const move = (size: Partial<MeshSize>) => {
  const model = pipe.transformers['transformer']!;
  model.moveTo(inOneThread(model, size));
  return model.programs.backend as ParallelBackend;
};

it.each([
  [{ batch: 2 }, 'everything computed', false],
  [{ batch: 2 }, 'with a cache', cache],
  [{ batch: 2 }, 'with a cache that shares differences', shared],
  [{ batch: 2, tensor: 2 }, 'with a cache', cache],
  [{ batch: 2, ulysses: 2 }, 'with a cache', cache],
] as const)('on %j, %s', async (size, _, cache) => {
  const alone = await pipe.generate({ ...request, cache });
  const backend = move(size);
  const together = await pipe.generate({ ...request, cache });
  expect(relativeError(together.latents, alone.latents)).toBeLessThan(1e-5);
  const decisions = ({ summary }: typeof alone) =>
    summary.map(({ calls }) => calls.map(({ action, branch }) => [branch, action]));
  expect(decisions(together)).toEqual(decisions(alone));
  // Every rank has had something to do.
  for (const { backend: own } of (await backend.crew.ranks()).ranks) expect(own.live.programs).toBeGreaterThan(0);
});

it('refuses ranks that would have nothing to do', async () => {
  move({ batch: 2 });
  const { negativePrompt: _, ...guided } = request;
  const unguided = { ...guided, trueCfgScale: 1 };
  await expect(pipe.generate(unguided)).rejects.toThrow(
    'parallelismConfig.cfgSize: 2 groups of ranks for calls of 1 sample(s), of which there is one a step: 1 would have nothing to do',
  );
  await pipe.generate({ ...unguided, numImages: 2 });
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
