/** The bundled model with cache-dit 1.3.5 in three settings, as recorded beside its uncached pictures: the same steps, diffs and pictures. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CacheOptions } from '../cache/config/cache-config.ts';
import { Image } from '../images/image.ts';
import { psnr } from '../metrics/pixel-errors.ts';
import { relativeError } from '../models/testing/golden.ts';
import { DiffusionPipeline } from '../pipelines/diffusion-pipeline.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { readSafetensors } from '../weights/safetensors/safetensors.ts';
import { disableCache, enableCache } from './enable-cache.ts';
import { summary } from './summary.ts';

const model = path.resolve(import.meta.dirname, '../../models/emoji-flux');

interface Run {
  tag: string;
  prompt: string;
  negative_prompt: string | null;
  true_cfg_scale: number;
  steps: number;
  seed: number;
  size: number;
  cached: CachedRun[];
}

interface CachedRun {
  name: string;
  config: CacheOptions;
  taylorseer_order: number | null;
  cached_steps: number[];
  cfg_cached_steps: number[];
  residual_diffs: Record<string, number>;
  cfg_residual_diffs: Record<string, number>;
}

const runs: Run[] = JSON.parse(readFileSync(path.join(model, 'reference/reference.json'), 'utf8'));
const cachedRuns = runs.flatMap((run) => run.cached.map((cached) => ({ ...run, cached })));

describe('cache-dit on the bundled model', () => {
  let pipe: Pipeline;
  let recorded: Record<string, Tensor>;
  beforeAll(async () => {
    pipe = await DiffusionPipeline.fromPretrained(model);
    recorded = await readSafetensors(path.join(model, 'reference/reference.safetensors'));
  });
  afterAll(() => pipe.dispose());

  it.each(cachedRuns.map((run) => [run.tag, run.cached.name, run] as const))('%s %s', async (tag, name, run) => {
    const { config, taylorseer_order: order } = run.cached;
    enableCache(pipe, {
      cacheConfig: { ...config, compat: 'cache-dit' },
      ...(order === null ? {} : { calibratorConfig: { type: 'taylorseer', order } }),
    });
    const { images, latents } = await pipe.generate({
      prompt: run.prompt,
      negativePrompt: run.negative_prompt ?? undefined,
      trueCfgScale: run.true_cfg_scale,
      numInferenceSteps: run.steps,
      height: run.size,
      width: run.size,
      seed: run.seed,
    });
    const [stats] = summary(pipe, { logging: false });
    disableCache(pipe);

    expect(stats!.cachedSteps).toEqual(run.cached.cached_steps);
    expect(stats!.cfgCachedSteps).toEqual(run.cached.cfg_cached_steps);
    expectSameDiffs(stats!.residualDiffs, run.cached.residual_diffs);
    expectSameDiffs(stats!.cfgResidualDiffs, run.cached.cfg_residual_diffs);
    expect(relativeError(latents, recorded[`${tag}.${name}.latents`]!)).toBeLessThan(1e-3);
    const picture = await Image.load(path.join(model, `reference/${tag}.${name}.png`));
    expect(psnr(picture, images[0]!)).toBeGreaterThanOrEqual(50);
  });
});

function expectSameDiffs(actual: Record<string, number | number[]>, expected: Record<string, number>): void {
  expect(Object.keys(actual)).toEqual(Object.keys(expected));
  for (const [step, diff] of Object.entries(expected))
    expect(Math.abs((actual[step] as number) / diff - 1), `step ${step}`).toBeLessThanOrEqual(1e-4);
}
