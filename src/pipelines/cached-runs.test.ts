/** Whole pipelines with cache-dit on them, as recorded: the same steps computed, the same diffs, the same latents after every step. */
import { rmSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { enableCache } from '../api/enable-cache.ts';
import type { CacheOptions } from '../cache/config/cache-config.ts';
import { DiffusionPipeline } from './diffusion-pipeline.ts';
import type { Pipeline } from './pipeline.ts';
import type { StepEvent } from './schema/options.ts';
import { assembleCheckpoint, readRecording, reproduce } from './testing/recorded.ts';

/** Steps that a branch re-used and diffs that it measured, counted from the expert's own first step. */
function recordOf(events: readonly StepEvent[], branch: string) {
  const reports = events.map(({ branches }) => branches[branch]);
  return {
    cached: reports.flatMap((report, step) => (report?.action === 'reuse' ? [step] : [])),
    diffs: reports.flatMap((report, step) => (typeof report?.diff === 'number' ? [[step, report.diff] as const] : [])),
  };
}

describe('cache-dit on pipelines', () => {
  let root: string;
  let pipe: Pipeline;
  afterEach(async () => {
    await pipe.dispose();
    rmSync(root, { recursive: true, force: true });
  });

  it.each(['flux', 'sd3', 'qwenimage', 'wan', 'wan22_moe'])('%s', async (name) => {
    const { checkpoint, runs } = readRecording(name);
    const run = runs.find(({ cache }) => cache)!;
    root = assembleCheckpoint(checkpoint);
    pipe = await DiffusionPipeline.fromPretrained(root);
    enableCache(pipe, { cacheConfig: { ...(run.cache as CacheOptions), compat: 'cache-dit' } });
    const { events } = await reproduce(pipe, name, run);

    const boundary = Number(checkpoint.options['boundary_ratio'] ?? 0) * 1000;
    const experts = [
      events.filter(({ timestep }) => timestep >= boundary),
      events.filter(({ timestep }) => timestep < boundary),
    ];
    for (const [i, recorded] of run.transformers!.entries()) {
      const branches = [
        ['cond', recorded.cached_steps, recorded.residual_diffs],
        ['uncond', recorded.cfg_cached_steps, recorded.cfg_residual_diffs],
      ] as const;
      for (const [branch, cachedSteps, residualDiffs] of branches) {
        const { cached, diffs } = recordOf(experts[i]!, branch);
        expect(cached, `expert ${i} ${branch}`).toEqual(cachedSteps);
        expect(diffs.map(([step]) => String(step))).toEqual(Object.keys(residualDiffs));
        for (const [step, diff] of diffs) expect(Math.abs(diff / residualDiffs[step]! - 1)).toBeLessThan(1e-4);
      }
    }
  });
});
