/** What users write: models on ranks that are threads of this process, with what else a model can have. */
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { enableCache } from '../api/enable-cache.ts';
import { summary } from '../api/summary.ts';
import { AutoModel } from '../models/auto-model.ts';
import { fixtures, readGolden } from '../models/testing/golden.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import { quantize } from '../quantize/quantize.ts';
import { Generator } from '../tensor/generator.ts';
import type { ParallelismOptions } from './config/parallelism-config.ts';
import { inOneThread, largestError } from './testing/ranks.ts';

let model: TransformerModel;
const golden = await readGolden('models/flux');
const load = async (options = {}) => {
  model = await AutoModel.fromPretrained(path.join(fixtures, 'models', 'flux'), options);
};

afterEach(() => model.dispose());

describe('a model on threads', () => {
  it('gives the whole result to the caller, and counts what the ranks said to each other', async () => {
    await load();
    const alone = await model.forward(golden.inputs);
    enableCache(model, { cacheConfig: null, parallelismConfig: { ulyssesSize: 2, tpSize: 2 } });
    expect(largestError(await model.forward(golden.inputs), alone)).toBeLessThan(1e-5);
    const [stats] = summary(model, { logging: false });
    expect(stats!.ranks).toMatchObject({ tag: 'Ulysses2_TP2', ranks: 4, transport: 'threads' });
    expect(stats!.ranks!.collectives['allToAll']!.bytes).toBeGreaterThan(0);
    enableCache(model, { cacheConfig: null, parallelismConfig: null });
    expect(await model.forward(golden.inputs)).toEqual(alone);
    expect(summary(model, { logging: false })[0]!.ranks).toBeNull();
  });

  it.each([
    { ulyssesSize: 2 },
    { tpSize: 2 },
    { ringSize: 2 },
  ])('decides alike with a cache on: %j', async (parallelismConfig) => {
    await load();
    const cacheConfig = { Fn: 1, residualDiffThreshold: 0.5, maxWarmupSteps: 2, numInferenceSteps: 6 };
    const steps = async () => {
      const results = [];
      for (let step = 0; step < 6; step++) results.push(await model.forward(golden.inputs));
      const [stats] = summary(model, { logging: false });
      const { calls } = stats!;
      return { results, calls };
    };
    enableCache(model, { cacheConfig });
    const alone = await steps();
    enableCache(model, { cacheConfig, parallelismConfig });
    const together = await steps();
    expect(together.calls.map(({ action }) => action)).toEqual(alone.calls.map(({ action }) => action));
    expect(together.calls.some(({ action }) => action === 'reuse')).toBe(true);
    for (const [i, result] of together.results.entries())
      expect(largestError(result, alone.results[i]!)).toBeLessThan(1e-5);
  });

  it('decides alike in 8 bits between ranks, with weights of 8 bits', async () => {
    await load();
    await quantize(model, { quantType: 'int8_per_row', regionalQuantize: false, excludeLayers: [] });
    const cacheConfig = { Fn: 1, residualDiffThreshold: 0.5, maxWarmupSteps: 2, numInferenceSteps: 5 };
    const steps = async (parallelismConfig: ParallelismOptions | null) => {
      enableCache(model, { cacheConfig, parallelismConfig });
      const results = [];
      for (let step = 0; step < 5; step++) results.push(await model.forward(golden.inputs));
      const [stats] = summary(model, { logging: false });
      return { results, actions: stats!.calls.map(({ action }) => action), ranks: stats!.ranks };
    };
    const alone = await steps(null);
    const exact = await steps({ ulyssesSize: 2 });
    const together = await steps({ ulyssesSize: 2, ulyssesFloat8: true });
    expect(together.actions).toEqual(alone.actions);
    expect(together.actions).toContain('reuse');
    for (const [i, result] of together.results.entries())
      expect(largestError(result, alone.results[i]!)).toBeLessThan(5e-2);
    expect(together.ranks!.tag).toBe('Ulysses2_F8');
    const bytesOf = ({ ranks }: typeof alone) => ranks!.collectives['allToAll']!.bytes;
    expect(bytesOf(together)).toBeLessThan(0.6 * bytesOf(exact));
  });

  it.each([
    'int8_per_row',
    'int8_per_tensor',
    'int8_weight_only',
    'int4',
    'float8_per_row',
  ])('computes with %s', async (quantType) => {
    await load();
    await quantize(model, { quantType, regionalQuantize: false, excludeLayers: [] });
    const alone = await model.forward(golden.inputs);
    for (const size of [{ ulysses: 2 }, { tensor: 2 }]) {
      model.moveTo(inOneThread(model, size));
      expect(largestError(await model.forward(golden.inputs), alone)).toBeLessThan(1e-5);
    }
  });
});

it.each([
  {
    ulyssesSize: 2,
    cpPlan: { '': { hidden_states: { split_dim: 1, expected_dims: 3 } }, proj_out: { gather_dim: 1 } },
  },
  { tpSize: 2, tpPlan: { 'transformer_blocks.*.attn.to_q': 'colwise', 'transformer_blocks.*.ff.net.2': 'rowwise' } },
])("follows plans in Diffusers' words: %j", async (parallelismConfig) => {
  await load();
  const alone = await model.forward(golden.inputs);
  enableCache(model, { cacheConfig: null, parallelismConfig });
  expect(largestError(await model.forward(golden.inputs), alone)).toBeLessThan(1e-5);
  const { collectives } = model.programs.backend.ranksReport!;
  expect(Object.keys(collectives)).toContain('ulyssesSize' in parallelismConfig ? 'allToAll' : 'allReduce');
});

it('adds what LoRAs add, at the strengths of a request', async () => {
  await load();
  const random = (shape: number[]) => new Generator(7).randn(shape);
  const additions = new Map(
    ['attn.to_q', 'attn.to_out.0', 'ff.net.0.proj', 'ff.net.2', 'norm1.linear'].map((layer) => {
      const name = `transformer_blocks.0.${layer}.weight`;
      const [out, width] = model.weights.info(name)!.shape as [number, number];
      return [name, { down: random([3, width]), up: random([out, 3]) }] as const;
    }),
  );
  const without = await model.forward(golden.inputs);
  model.weights.lora!.set('style', { additions, strength: 0.5 });
  model.runner.reset();
  const alone = await model.forward(golden.inputs);
  expect(largestError(without, alone)).toBeGreaterThan(1e-3);
  for (const size of [{ ulysses: 2 }, { tensor: 2 }, { ring: 2, tensor: 2 }]) {
    model.moveTo(inOneThread(model, size));
    expect(largestError(await model.forward(golden.inputs), alone)).toBeLessThan(1e-5);
  }
});
