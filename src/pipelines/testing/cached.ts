/** Test support: a pipeline of a recording under a cache. */
import { expect, it } from 'vitest';
import type { Pipeline } from '../pipeline.ts';
import type { StepEvent } from '../schema/options.ts';
import { optionsOf, readRecording, reproduce } from './recorded.ts';

/**
 * Tests: the first run of a recording under a cache that measures and re-uses nothing, which is as Diffusers; and under one that re-uses all that it may, in
 * every guidance branch.
 */
export function itCaches(pipe: () => Pipeline, name: string, tolerance?: number): void {
  const run = readRecording(name).runs[0]!;
  const cacheOf = (residualDiffThreshold: number) => ({
    cacheConfig: { maxWarmupSteps: 2, Fn_compute_blocks: 1, residualDiffThreshold },
  });

  it('cuts a step where a cache decides, and computes the same', async () => {
    await reproduce(pipe(), name, { ...run, call: { ...run.call, cache: cacheOf(1e-9) } }, tolerance);
  });

  it('re-uses steps', async () => {
    const events: StepEvent[] = [];
    const options = await optionsOf(name, run);
    const { latents } = await pipe().generate({
      ...options,
      cache: cacheOf(1000),
      outputType: 'latent',
      onStep: (event) => void events.push(event),
    });
    expect(latents.f32.every(Number.isFinite)).toBe(true);
    for (const [i, { branches }] of events.entries())
      for (const [branch, report] of Object.entries(branches))
        expect(report.action, `${branch} of step ${i}`).toBe(i < 2 ? 'compute' : 'reuse');
  });
}
