/** Low-rank factors against torch.linalg.svd, SVDQuant against its own definition. */
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { Generator } from '../../tensor/generator.ts';
import { type Matrix, matrix, matrixOf, transpose } from '../../tensor/linear-algebra/matrix.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { FormatOf } from '../../weights/formats/weight-format.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { relax, relaxStrategies, smoothFactors } from '../smoothing.ts';
import { hostProducts as products } from '../testing/host-products.ts';
import { encodeBlocks } from './block.ts';
import { decode, encode } from './encode.ts';
import { lowRankFactors } from './low-rank.ts';
import { relativeError } from './scales.ts';

let reference: Record<string, Tensor>;
beforeAll(async () => {
  reference = await readSafetensors(
    path.resolve(import.meta.dirname, '../../../fixtures/quantize/reference.safetensors'),
  );
});
const load = (name: string): Matrix => matrixOf(reference[name]!);
const floats = (name: string) => reference[name]!.f32;

describe('lowRankFactors', () => {
  const product = async (w: Matrix, options: { method: 'exact' | 'randomised'; rank: number }) => {
    const { up, down } = await lowRankFactors(w, { ...options, products });
    return products.times(up, down);
  };

  it.each([
    'exact',
    'randomised',
  ] as const)('%s: the best approximation, as torch.linalg.svd finds it', async (method) => {
    const best = load('svd.rank8');
    const found = await product(load('svd.weight'), { method, rank: 8 });
    expect(relativeError(found.data, best.data)).toBeLessThan(2e-6);
    const across = await product(transpose(load('svd.weight')), { method, rank: 8 });
    expect(relativeError(transpose(across).data, best.data)).toBeLessThan(2e-6);
  });

  it('shares each singular value evenly between the factors', async () => {
    const { up, down } = await lowRankFactors(load('svd.weight'), { method: 'exact', rank: 8, products });
    const values = reference['svd.values']!.data;
    for (let r = 0; r < 8; r++) {
      let [left, right] = [0, 0];
      for (let i = 0; i < up.rows; i++) left += up.data[i * 8 + r]! ** 2;
      for (let i = 0; i < down.columns; i++) right += down.data[r * down.columns + i]! ** 2;
      expect(left / Number(values[r])).toBeCloseTo(1, 5);
      expect(right / Number(values[r])).toBeCloseTo(1, 5);
    }
  });

  it('finds all of a matrix whose rank is lower than asked for', async () => {
    const thin = { up: matrix(30, 2), down: matrix(2, 20) };
    thin.up.data.set(new Generator(1).randn([60]).f32);
    thin.down.data.set(new Generator(2).randn([40]).f32);
    const w = await products.times(thin.up, thin.down);
    for (const method of ['exact', 'randomised'] as const) {
      const found = await product(w, { method, rank: 6 });
      expect(relativeError(found.data, w.data)).toBeLessThan(1e-6);
    }
  });

  it('is the same for the same matrix', async () => {
    const once = await lowRankFactors(load('tile'), { method: 'randomised', rank: 16, products });
    const twice = await lowRankFactors(load('tile'), { method: 'randomised', rank: 16, products });
    expect(once.up.data).toEqual(twice.up.data);
  });
});

describe('SVDQuant', () => {
  const format = (changes: Partial<FormatOf<'low-rank'>> = {}): FormatOf<'low-rank'> => ({
    kind: 'low-rank',
    rank: 16,
    smooth: false,
    residual: { kind: 'block', bits: 4, blockSize: 64 },
    ...changes,
  });
  const errorOf = async (
    w: Matrix,
    changes: Partial<FormatOf<'low-rank'>>,
    refineIterations = 0,
    smooth?: Float32Array,
  ) => {
    const chosen = format(changes);
    const parts = await encode(w, chosen, { method: 'randomised', products, refineIterations, smooth });
    return relativeError((await decode(parts, chosen, { columns: w.columns, products })).data, w.data);
  };

  it('the codes are those of the weight less the branch as it is stored', async () => {
    const w = load('tile');
    const parts = await encode(w, format(), { method: 'exact', products });
    const wide = (name: string) => matrixOf(parts[name]!.float());
    const branch = await products.times(wide('up'), wide('down'));
    const rest = matrix(
      w.rows,
      w.columns,
      w.data.map((value, i) => value - branch.data[i]!),
    );
    const expected = encodeBlocks(rest, { kind: 'block', bits: 4, blockSize: 64 });
    expect(parts.codes!.data).toEqual(expected.codes!.data);
    expect(parts.scale!.data).toEqual(expected.scale!.data);
  });

  it.each([
    'block',
    'nvfp4',
  ] as const)('rank and refinement lower the error, smoothing is undone (%s)', async (kind) => {
    const w = load('tile');
    const residual = kind === 'block' ? format().residual : ({ kind: 'nvfp4', scales: 'row' } as const);
    const plain = await errorOf(w, { rank: 0, residual });
    const branched = await errorOf(w, { rank: 32, residual });
    const refined = await errorOf(w, { rank: 32, residual }, 5);
    expect(branched).toBeLessThan(plain * 0.9);
    expect(refined).toBeLessThan(branched * 0.95);
    expect(await errorOf(w, { rank: 0, residual }, 5)).toBe(plain);
    const relaxation = { factor: 1.5, topRatio: 0.25, strategy: 'auto' } as const;
    const smooth = smoothFactors({ strategy: 'weight', weight: w, relaxation })!;
    expect(await errorOf(w, { rank: 32, residual, smooth: true }, 0, smooth)).toBeLessThan(plain);
  });
});

describe('smoothing', () => {
  const relaxation = { factor: 1.5, topRatio: 0.25, strategy: 'auto' } as const;

  it.each(relaxStrategies)('relaxes activation peaks (%s)', (strategy) => {
    const relaxed = relax(floats('peaks'), { ...relaxation, strategy });
    expect(relativeError(relaxed, floats(`relax.${strategy}`))).toBeLessThan(1e-6);
  });

  it.each([
    ['activation', 'smooth.activation'],
    ['weight', 'smooth.weight_factors'],
    ['weight_inv', 'smooth.weight_inv'],
  ] as const)('factors of %s', (strategy, recorded) => {
    const input = { weight: load('smooth.weight'), activations: floats('peaks'), relaxation };
    const factors = smoothFactors({ strategy, ...input })!;
    expect(relativeError(factors, floats(recorded))).toBeLessThan(1e-6);
  });

  it('repairs factors that cannot be used', () => {
    const weight = matrix(1, 3, Float32Array.of(0, 2, 1));
    const factors = smoothFactors({
      strategy: 'activation',
      weight,
      activations: Float32Array.of(1, 0, 4),
      relaxation,
    });
    expect([...factors!]).toEqual([1, 1, 2]);
  });

  it('says what is missing', () => {
    const weight = matrix(1, 2);
    expect(() => smoothFactors({ strategy: 'few_shot', weight, relaxation })).toThrow(/'few_shot' needs activations/);
  });
});
