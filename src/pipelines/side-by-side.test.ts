/** What a request names is its own: cache, LoRAs, reports, summary and warnings, whatever runs beside it. */
import path from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { disableCache, enableCache } from '../api/enable-cache.ts';
import { strify, summary } from '../api/summary.ts';
import { TrajectoryRecorder } from '../cache/run/trajectory.ts';
import { setWarningHandler } from '../errors/warnings.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { ProgramCache } from '../runtime/program-cache.ts';
import { Generator } from '../tensor/generator.ts';
import { dims, floatTensor, type Tensor } from '../tensor/tensor.ts';
import { DiffusionPipeline } from './diffusion-pipeline.ts';
import { loadLora, unloadLora } from './lora/lora.ts';
import type { Pipeline } from './pipeline.ts';
import type { GenerateOptions } from './schema/options.ts';

const shown: string[] = [];
let restore: Parameters<typeof setWarningHandler>[0];
let programs: ProgramCache;
let pipe: Pipeline;
beforeAll(async () => {
  restore = setWarningHandler((message) => shown.push(message));
  programs = new ProgramCache(await createBackend({ backend: 'cpu' }));
  pipe = await DiffusionPipeline.fromPretrained(path.resolve(import.meta.dirname, '../../models/emoji-flux'), {
    programs,
  });
});
afterEach(() => {
  disableCache(pipe);
  if (pipe.transformers['transformer']!.weights.lora!.names.length > 0) unloadLora(pipe);
  shown.length = 0;
});
afterAll(async () => {
  setWarningHandler(restore);
  await pipe.dispose();
  await programs.dispose();
  await programs.backend.dispose();
});

/** Rank 4, strong enough to be seen, on some of the layers. */
function loraOf(seed: number, layers: readonly string[]): Record<string, Tensor> {
  const generator = new Generator(seed);
  const scaled = (shape: number[]) => {
    const { f32 } = generator.randn(shape);
    return floatTensor(
      Array.from(f32, (x) => 0.1 * x),
      shape,
    );
  };
  return Object.fromEntries(
    layers.flatMap((layer) => {
      const [out, inner] = dims(pipe.transformers['transformer']!.weights.info(`${layer}.weight`)!, 2);
      return [
        [`${layer}.lora_A.weight`, scaled([4, inner])],
        [`${layer}.lora_B.weight`, scaled([out, 4])],
      ];
    }),
  );
}
const style = () => loraOf(1, ['transformer_blocks.0.attn.to_q', 'transformer_blocks.0.attn.to_out.0']);
const subject = () => loraOf(2, ['transformer_blocks.1.attn.to_v', 'transformer_blocks.0.attn.to_q', 'proj_out']);

const base: GenerateOptions = { prompt: 'red apple', numInferenceSteps: 8, width: 64, height: 64, seed: 1 };

/** Everything of a request that must not depend on others; times and counters of shared programs are left out. */
async function outcome(options: GenerateOptions) {
  const reports: string[] = [];
  const result = await pipe.generate({
    ...options,
    onStep: ({ step, action, branches }) =>
      void reports.push(`${step} ${action} ${Object.values(branches).map(({ reason }) => reason)}`),
  });
  return {
    latents: result.latents,
    images: result.images.map(({ data }) => data),
    reports,
    summary: result.summary.map(({ programs: _, spans: __, ...stats }) => stats),
    warnings: result.warnings,
  };
}

describe('eight requests at once', () => {
  const requests: GenerateOptions[] = [
    { cache: {} },
    { cache: false, seed: 2, loras: { style: 1 }, guidanceScale: 3 },
    { cache: { cacheConfig: { residualDiffThreshold: 0.4, maxWarmupSteps: 2 } }, width: 96, loras: {} },
    {
      cache: { cacheConfig: { Fn: 2, Bn: 1, residualDiffThreshold: 0.5, maxWarmupSteps: 2 }, calibratorConfig: null },
      numInferenceSteps: 11,
      negativePrompt: '',
      trueCfgScale: 3,
      loras: { subject: 0.5, style: -0.5 },
    },
    { cache: { cacheConfig: { cacheType: 'DBPrune', residualDiffThreshold: 0.3, maxWarmupSteps: 2 } }, seed: 4 },
    { cache: { cacheConfig: { cacheType: 'EasyCache', residualDiffThreshold: 0.3 } }, height: 96, loras: { style: 2 } },
    // One takes the default, the other names what the default is: they differ in their LoRAs.
    { seed: 5, numInferenceSteps: 9 },
    { seed: 5, numInferenceSteps: 9, cache: { cacheConfig: { errorBudget: 0.3 } }, loras: { subject: 1 } },
  ].map((options) => ({ ...base, ...options }) as GenerateOptions);

  it('give bit for bit what each gives alone, and reports, summaries and warnings of their own', async () => {
    await loadLora(pipe, style(), { name: 'style', strength: 0.7 });
    await loadLora(pipe, subject(), { name: 'subject' });
    enableCache(pipe, { cacheConfig: { errorBudget: 0.3 } });
    const alone = [];
    for (const options of requests) alone.push(await outcome(options));
    const together = await Promise.all(requests.map(outcome));
    for (const [i, result] of together.entries()) expect(result, `request ${i}`).toEqual(alone[i]);

    const distinct = new Set(together.map(({ latents }) => latents.data.join()));
    expect(distinct.size).toBe(requests.length);
    const reused = together.map(({ reports }) => reports.filter((report) => report.includes('reuse')).length);
    expect(reused[1]).toBe(0);
    expect(reused.filter((count) => count > 0).length, String(reused)).toBeGreaterThan(4);
    expect(together.map((result) => strify(result as never).replace(/_.*/, ''))).toEqual([
      'DBCache',
      'NONE',
      'DBCache',
      'DBCache',
      'DBPrune',
      'EasyCache',
      'DBCache',
      'DBCache',
    ]);
    expect(
      together.flatMap(({ warnings }) => warnings.filter((line) => line.startsWith('guidanceScale'))),
    ).toHaveLength(1);
    expect(together[1]!.warnings[0]).toMatch(/^guidanceScale has no effect/);
  });
});

describe('the cache of a request', () => {
  const cacheConfig = { residualDiffThreshold: 0.5, maxWarmupSteps: 2 };

  it('is as if it had been enabled, for this request alone', async () => {
    const model = pipe.transformers['transformer']!;
    const plain = await outcome(base);
    const own = await outcome({ ...base, cache: { cacheConfig } });
    expect(model.defaultCache).toBeUndefined();
    expect(summary(pipe, { logging: false })[0]!.cacheOptions).toBeNull();
    expect(await outcome(base)).toEqual(plain);
    expect(plain.summary).toMatchObject([{ transformer: 'transformer', cacheOptions: null, calls: [] }]);

    enableCache(pipe, { cacheConfig });
    const { defaultCache } = model;
    expect(await outcome(base)).toEqual(own);
    expect(own.summary[0]!.cachedSteps.length).toBeGreaterThan(2);
    expect(await outcome({ ...base, cache: false })).toEqual(plain);
    expect(await outcome({ ...base, cache: { cacheConfig: { cacheType: 'NONE' } } })).toEqual(plain);
    expect(model.defaultCache).toBe(defaultCache);
  });

  it('may be a recorder, which computes what is computed without', async () => {
    const recorder = new TrajectoryRecorder(pipe.transformers['transformer']!);
    const { latents } = await pipe.generate({ ...base, cache: recorder, outputType: 'latent' });
    expect(latents.data).toEqual((await pipe.generate({ ...base, outputType: 'latent' })).latents.data);
    // Two guidance branches of eight steps.
    expect([recorder.count, recorder.gram.length]).toEqual([2, 8]);
  });

  it.each<[GenerateOptions['cache'], string]>([
    [{ cacheConfig: { Fn: 99 } }, 'cacheConfig.fnComputeBlocks'],
    [{ errorBudget: 0.1 } as GenerateOptions['cache'], 'cache: unknown key "errorBudget"; known: cacheConfig'],
    [true as unknown as false, 'cache: expected settings as enableCache takes them, or false, got true'],
    [{ quantizeConfig: { quantType: 'int4' } } as GenerateOptions['cache'], 'cache.quantizeConfig: a request cannot'],
    [{ parallelismConfig: { ulysses_size: 2 } }, 'cache.parallelismConfig: a request cannot'],
  ])('%j is refused', async (cache, message) => {
    await expect(pipe.generate({ ...base, cache })).rejects.toThrow(message);
  });
});

describe('the LoRAs of a request', () => {
  const latents = { ...base, numInferenceSteps: 3, outputType: 'latent' } as const;
  const drawn = async (loras?: GenerateOptions['loras']) => (await pipe.generate({ ...latents, loras })).latents.data;

  it('are those that it names, as if only they were loaded, at their strengths', async () => {
    const plain = await drawn();
    await loadLora(pipe, style(), { name: 'style', strength: 0.3 });
    const weak = await drawn();
    await loadLora(pipe, style(), { name: 'style', strength: 0.9 });
    const strong = await drawn();
    await loadLora(pipe, subject(), { name: 'subject', strength: 0.5 });
    const both = await drawn();
    expect(new Set([plain, weak, strong, both].map((data) => data.join())).size).toBe(4);

    expect(await drawn({ style: 0.3 })).toEqual(weak);
    expect(await drawn({ style: 0.9 })).toEqual(strong);
    expect(await drawn({ style: 0.9, subject: 0 })).toEqual(strong);
    expect(await drawn({ subject: 0.5, style: 0.9 })).toEqual(both);
    expect(await drawn({})).toEqual(plain);
    expect(await drawn()).toEqual(both);
  });

  it('compile nothing anew at another strength, or with a LoRA for the same layers', async () => {
    await loadLora(pipe, style(), { name: 'style' });
    await loadLora(pipe, style(), { name: 'other' });
    await drawn({ style: 1 });
    const { compiled } = programs.stats;
    await drawn({ style: -0.5 });
    await drawn({ other: 2 });
    expect(programs.stats.compiled).toBe(compiled);
  });

  it('are refused where they are not loaded, or no numbers', async () => {
    await expect(drawn({ style: 1 })).rejects.toThrow("loras: no LoRA 'style' is loaded");
    await loadLora(pipe, style(), { name: 'style' });
    await expect(drawn({ subject: 1 })).rejects.toThrow("loras: no LoRA 'subject' is loaded; there is style");
    await expect(drawn({ style: Number.NaN })).rejects.toThrow('loras.style: expected a number, got NaN');
    await expect(drawn(['style'] as never)).rejects.toThrow('loras: expected strengths by name');
  });
});

describe('the warnings of a request', () => {
  it('are in its result, every time; advice on a default cache is shown once', async () => {
    enableCache(pipe, { cacheConfig: { maxWarmupSteps: 12 } });
    const first = await outcome({ ...base, guidanceScale: 2 });
    const second = await outcome(base);
    const advice = expect.stringMatching(/^cacheConfig: all 8 steps are computed/);
    expect(first.warnings).toEqual([expect.stringMatching(/^guidanceScale/), advice]);
    expect(second.warnings).toEqual([advice]);
    expect(shown).toEqual(first.warnings);
  });
});
