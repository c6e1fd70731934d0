/** Whole pipelines on ranks that are threads: text encoders, autoencoder and ControlNet with their transformer. */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { enableCache } from '../api/enable-cache.ts';
import { fixtures, relativeError } from '../models/testing/golden.ts';
import { DiffusionPipeline } from '../pipelines/diffusion-pipeline.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import type { GenerateOptions } from '../pipelines/schema/options.ts';
import { assembleCheckpoint, readRecording } from '../pipelines/testing/recorded.ts';
import { bundledModel } from '../weights/bundled-model.ts';
import type { ParallelismOptions } from './config/parallelism-config.ts';

let pipe: Pipeline;
afterEach(() => pipe.dispose());

const onRanks = (parallelismConfig: ParallelismOptions | null) =>
  enableCache(pipe, { cacheConfig: null, parallelismConfig });

/** What the latents, and the picture, differ by on ranks. */
async function difference(request: GenerateOptions, parallelismConfig: ParallelismOptions) {
  const alone = await pipe.generate(request);
  onRanks(parallelismConfig);
  const together = await pipe.generate(request);
  expect(together.images.map(({ data }) => data.length)).toEqual(alone.images.map(({ data }) => data.length));
  return { latents: relativeError(together.latents, alone.latents), warnings: together.warnings };
}

describe('a ControlNet', () => {
  const request: GenerateOptions = {
    ...{ prompt: 'cat', height: 32, width: 48, seed: 3, numInferenceSteps: 2, negativePrompt: 'dog', trueCfgScale: 2 },
    controlImage: path.join(fixtures, 'pipelines/flux_controlnet/control.png'),
    outputType: 'latent',
  };
  it.each([{ ulyssesSize: 2 }, { cfgSize: 2 }, { tpSize: 2 }])('on ranks with its transformer: %j', async (size) => {
    const folder = assembleCheckpoint(readRecording('flux_controlnet').checkpoint);
    pipe = await DiffusionPipeline.fromPretrained(folder);
    await rm(folder, { recursive: true });
    const modules = { extraParallelModules: ['controlnet'] };
    expect((await difference(request, { ...size, ...modules })).latents).toBeLessThan(1e-5);
    const { collectives, tag } = pipe.models['controlnet']!.programs.backend.ranksReport!;
    expect(Object.keys(collectives)).toContain('tpSize' in size ? 'allReduce' : 'allToAll');
    expect(tag).toMatch(/_CNP$/);
    // What is not named goes back.
    onRanks({ tpSize: 2 });
    expect(pipe.models['controlnet']!.programs.backend.ranksReport).toBeUndefined();
  });
});

describe('text encoders and autoencoder', () => {
  const request = { prompt: 'red apple', height: 32, width: 48, seed: 3, numInferenceSteps: 1 };
  const kinds = { parallel_text_encoder: true, parallel_vae: true };

  it('on ranks with the transformer, read from their files by the ranks alone', async () => {
    pipe = await DiffusionPipeline.fromPretrained(bundledModel(), { deferWeights: true });
    onRanks({ tpSize: 2, ...kinds });
    const together = await pipe.generate(request);
    const { models, autoencoders } = pipe;
    expect(Object.keys(models)).toEqual(['text_encoder', 'text_encoder_2']);
    const all = [...Object.values(models), ...Object.values(autoencoders).map(({ model }) => model)];
    expect(all.map(({ weights }) => weights.bytes)).toEqual(all.map(() => 0));
    for (const { programs } of Object.values(models))
      expect(programs.backend.ranksReport!.collectives['allReduce']!.bytes).toBeGreaterThan(0);
    expect(together.warnings).toEqual([
      expect.stringMatching(/^parallelVae has no effect on one picture of 48 x 32: it is no larger than a tile/),
    ]);
    onRanks(null);
    const alone = await pipe.generate(request);
    expect(relativeError(together.latents, alone.latents)).toBeLessThan(1e-5);
    expect(alone.warnings.join()).not.toContain('parallelVae');
  });

  it('are refused by name where there are none', async () => {
    pipe = await DiffusionPipeline.fromPretrained(bundledModel());
    const refused = (options: ParallelismOptions) => () => onRanks({ tpSize: 2, ...options });
    expect(refused({ extraParallelModules: ['text_encoder_3'] })).toThrow(
      "parallelismConfig.extraParallelModules: a FluxPipeline has no 'text_encoder_3'; it can have text_encoder, text_encoder_2, vae on ranks",
    );
    expect(refused({ extraParallelModules: ['scheduler'] })).toThrow(/every process has all of 'scheduler'/);
    expect(refused({ extraParallelModules: ['transformer'] })).toThrow(/'transformer' is on ranks in any case/);
    expect(refused({ parallelControlnet: true })).toThrow(/parallelControlnet: a FluxPipeline has no ControlNet/);
    const { transformer } = pipe.transformers;
    expect(() =>
      enableCache(transformer!, { cacheConfig: null, parallelismConfig: { tpSize: 2, parallelVae: true } }),
    ).toThrow(/parallelVae: a bare transformer has no other components/);
    // Nothing has moved.
    expect(transformer!.programs).toBe(transformer!.home);
  });
});
