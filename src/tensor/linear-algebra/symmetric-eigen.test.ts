import { describe, expect, it } from 'vitest';
import { Generator } from '../generator.ts';
import { symmetricEigen } from './symmetric-eigen.ts';

describe('symmetricEigen', () => {
  const n = 40;
  const random = new Generator(3).randn([n, n], 'float64').data as Float64Array;
  it.each([
    ['random', (i: number, j: number) => random[i * n + j]! + random[j * n + i]!],
    ['diagonal', (i: number, j: number) => (i === j ? i : 0)],
    ['rank one', (i: number, j: number) => (i + 1) * (j + 1)],
    ['zero', () => 0],
    ['repeated', (i: number, j: number) => (i === j ? 2 : 0)],
  ])('A·v = λ·v and vᵀ·v = 1 (%s)', (_, entry) => {
    const a = Float64Array.from({ length: n * n }, (_unused, k) => entry(Math.floor(k / n), k % n));
    const { values, vectors } = symmetricEigen(a, n);
    const scale = Math.max(1, ...values.map(Math.abs));
    for (const [r, v] of vectors.entries()) {
      expect(r === 0 || values[r]! <= values[r - 1]!).toBe(true);
      for (let i = 0; i < n; i++) {
        let product = 0;
        for (let j = 0; j < n; j++) product += a[i * n + j]! * v[j]!;
        expect(Math.abs(product - values[r]! * v[i]!)).toBeLessThan(1e-12 * n * scale);
      }
      for (const [s, w] of vectors.entries()) {
        const overlap = v.reduce((sum, x, i) => sum + x * w[i]!, 0);
        expect(Math.abs(overlap - (r === s ? 1 : 0))).toBeLessThan(1e-12 * n);
      }
    }
  });

  it('keeps the small values of a badly scaled matrix to relative precision', () => {
    const { values } = symmetricEigen(Float64Array.of(1, 1e-9, 1e-9, 4e-18), 2);
    expect(values[1]! / 3e-18).toBeCloseTo(1, 9);
  });
});
