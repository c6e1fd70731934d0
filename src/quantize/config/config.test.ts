/** Options and plans: what is accepted, what is refused by name, which layers are chosen. */
import { afterEach, describe, expect, it } from 'vitest';
import { setWarningHandler } from '../../errors/warnings.ts';
import type { WeightInfo } from '../../weights/weight-info.ts';
import { planLayers } from '../plan.ts';
import { parseQuantizeConfig, type QuantizeOptions } from './config.ts';
import { formatOf, parseQuantType, plainQuantTypes } from './quant-type.ts';

describe('parseQuantizeConfig', () => {
  it("has cache-dit's defaults", () => {
    expect(parseQuantizeConfig()).toMatchObject({
      quantType: 'float8_per_row',
      excludeLayers: ['embedder', 'embed', 'modulation', 'mod'],
      regionalQuantize: true,
      repeatedBlocks: [],
      filterFn: null,
      componentsToQuantize: null,
      perTensorFallback: true,
      precisionPlan: [],
      verbose: false,
      svdq: { calibratePrecision: 'low', fewShotSteps: 1, refineIterations: 0 },
    });
  });

  it('takes both spellings, aliases of types, and null for the default', () => {
    const snake = parseQuantizeConfig({
      quant_type: 'svdq_int4_r32_dq',
      exclude_layers: ['norm'],
      precision_plan: { ff: 'int8' },
      components_to_quantize: ['transformer'],
      per_tensor_fallback: null,
      svdq_kwargs: { smooth_strategy: 'weight', svd_refine_iters: 3, few_shot_relax_strategy: 'top_q4' },
    });
    const camel = parseQuantizeConfig({
      quantType: 'SVDQ-int4-r32-dq',
      excludeLayers: ['norm'],
      precisionPlan: { ff: 'int8_per_row' },
      componentsToQuantize: { transformer: {} },
      svdqKwargs: { smoothStrategy: 'weight', svdRefineIters: 3, fewShotRelaxStrategy: 'top' },
    });
    expect(snake).toEqual(camel);
    expect(snake).toMatchObject({ smooth: true, svdq: { refineIterations: 3, relaxation: { strategy: 'top' } } });
  });

  it('smooths by activations unless the type does without', () => {
    expect(parseQuantizeConfig({ quantType: 'svdq_int4_r32' }).svdq.smoothStrategy).toBe('activation');
    expect(parseQuantizeConfig({ quantType: 'svdq_int4_r32_dq' }).svdq.smoothStrategy).toBe('identity');
  });

  it.each<[QuantizeOptions, RegExp]>([
    [{ quantTyp: 'int8' }, /unknown key "quantTyp"; did you mean quantType\?/],
    [{ quantType: 'int8_per_rwo' }, /quantType: unknown type 'int8_per_rwo'; did you mean int8_per_row\?/],
    [{ quantType: 'svdq_int4_r20' }, /rank of 'svdq_int4_r20' must be 0 or a multiple of 16/],
    [{ quantType: 'bitsandbytes_4bit' }, /use int4_weight_only/],
    [{ quantType: 'int8_per_row', backend: 'cache_dit' }, /backend: 'cache_dit' does not quantise to int8_per_row/],
    [{ precisionPlan: { ff: 'int3' } }, /precisionPlan\.ff: unknown type 'int3'/],
    [{ blockSize: 48 }, /blockSize: /],
    [{ filterFn: 'x' }, /filterFn: must be a function/],
    [{ quantType: 'int8_per_row', quant_type: 'int8_per_row' }, /quantType: is given twice/],
    [{ svdqKwargs: { smoothStrategy: 'none' } }, /svdqKwargs\.smoothStrategy: /],
    [{ svdqKwargs: { few_shot_relax_factor: 0.5 } }, /fewShotRelaxFactor: /],
    [{ svdqKwargs: { refine: 1 } }, /svdqKwargs: unknown key "refine"/],
  ])('refuses %j', (options, message) => {
    expect(() => parseQuantizeConfig(options)).toThrow(message);
  });

  describe('options of CUDA kernels', () => {
    const original = setWarningHandler(() => {});
    afterEach(() => void setWarningHandler(original));
    it('are warned of', () => {
      const warnings: string[] = [];
      setWarningHandler((message) => void warnings.push(message));
      parseQuantizeConfig({ svdqKwargs: { runtime_kernel: 'v2', streaming: true } });
      expect(warnings).toEqual([expect.stringMatching(/runtimeKernel, streaming|streaming, runtimeKernel/)]);
    });
  });
});

it('every type has a format', () => {
  for (const type of plainQuantTypes) {
    expect(parseQuantType(type, '')).toBe(type);
    expect(formatOf(type, { blockSize: null, smooth: false }).kind).toMatch(/int8|block|float8|nvfp4/);
  }
  expect(formatOf(parseQuantType('svdq_nvfp4_r128_dq', ''), { blockSize: null, smooth: false })).toEqual({
    kind: 'low-rank',
    rank: 128,
    smooth: false,
    residual: { kind: 'nvfp4', scales: 'row' },
  });
});

describe('planLayers', () => {
  const shapes: Record<string, number[]> = {
    'x_embedder.weight': [128, 64],
    'norm_out.linear.weight': [256, 128],
    'blocks.0.attn.to_q.weight': [128, 128],
    'blocks.0.attn.to_q.bias': [128],
    'blocks.0.ff.weight': [512, 128],
    'blocks.0.conv.weight': [128, 128, 3, 3],
    'blocks.0.img_mod.1.weight': [768, 128],
    'others.0.odd.weight': [96, 40],
    'model.layers.0.mlp.weight': [256, 128],
    'encoder.block.0.relative_attention_bias.weight': [32, 8],
  };
  const weights = (): [string, WeightInfo][] =>
    Object.entries(shapes).map(([name, shape]) => [name, { dtype: 'float32', shape }]);
  const plan = (
    options: QuantizeOptions,
    { blockLists }: { blockLists?: string[] } = { blockLists: ['blocks', 'others'] },
  ) => {
    const config = parseQuantizeConfig(options);
    const { layers, kept } = planLayers({ weights: weights(), blockLists, config, path: 'test' });
    return {
      layers: Object.fromEntries(layers.map(({ name, type }) => [name, type])),
      kept: Object.fromEntries(kept.map(({ name, reason }) => [name, reason])),
      fallbacks: layers.flatMap(({ name, fallback }) => (fallback ? [[name, fallback.from, fallback.reason]] : [])),
    };
  };

  it('takes the linear layers of repeated blocks and says why it leaves others', () => {
    const { layers, kept } = plan({ quantType: 'int8_per_row' });
    expect(Object.keys(layers)).toEqual(['blocks.0.attn.to_q', 'blocks.0.ff', 'others.0.odd']);
    expect(kept).toEqual({
      x_embedder: "excludeLayers has 'embedder'",
      'norm_out.linear': 'is outside the repeated blocks',
      'blocks.0.img_mod.1': "excludeLayers has 'mod'",
      'model.layers.0.mlp': 'is outside the repeated blocks',
      'encoder.block.0.relative_attention_bias': 'is a lookup table',
    });
  });

  it('follows repeatedBlocks, regionalQuantize, excludeLayers, filterFn and precisionPlan', () => {
    expect(Object.keys(plan({ repeatedBlocks: ['others'], quantType: 'int8' }).layers)).toEqual(['others.0.odd']);
    const everything = plan({ regionalQuantize: false, excludeLayers: [], quantType: 'int8' });
    expect(Object.keys(everything.layers)).toContain('x_embedder');
    expect(Object.keys(everything.layers)).toContain('model.layers.0.mlp');
    const wide = plan({ filterFn: ({ outFeatures }: { outFeatures: number }) => outFeatures > 200, quantType: 'int8' });
    expect(Object.keys(wide.layers)).toEqual(['blocks.0.ff']);
    const mixed = plan({ precisionPlan: { attn: 'float8_per_row', ff: 'int4' }, quantType: 'int8' });
    expect(mixed.layers).toEqual({
      'blocks.0.attn.to_q': 'float8_per_row',
      'blocks.0.ff': 'int4_weight_only',
      'others.0.odd': 'int8_per_row',
    });
  });

  it('counts numbered modules as blocks where a model has no block lists; "model" is no modulation', () => {
    expect(Object.keys(plan({ quantType: 'int8' }, {}).layers)).toContain('model.layers.0.mlp');
  });

  it('falls back to one scale per tensor, or refuses by name', () => {
    const { fallbacks, layers } = plan({ quantType: 'float8_per_block' });
    expect(fallbacks).toEqual([['others.0.odd', 'float8_per_block', '[96,40] is not made of tiles of 128']]);
    expect(layers['others.0.odd']).toBe('float8_per_tensor');
    expect(plan({ quantType: 'svdq_int4_r32_dq' }).layers['others.0.odd']).toBe('int8_per_tensor');
    expect(() => plan({ quantType: 'nvfp4', perTensorFallback: false })).toThrow(
      /nvfp4 cannot hold others\.0\.odd \(40 inputs are not divisible by 16\)/,
    );
  });

  it('refuses to do nothing', () => {
    expect(() => plan({ excludeLayers: ['.'] })).toThrow(/no layer is left to quantise: .* × excludeLayers has '\.'/);
    expect(() => plan({ repeatedBlocks: ['block'] })).toThrow(/names 'block'; its block lists are blocks, others/);
  });
});
