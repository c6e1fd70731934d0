/** The table that `deja-dit metrics` prints; the figures themselves are tested in `metrics/`. */
import { describe, expect, it } from 'vitest';
import { comparisonTable } from './metrics.ts';

const comparison = {
  rows: [
    { name: 'a', values: { psnr: 30, mse: 4 } },
    { name: 'b', values: { psnr: Number.POSITIVE_INFINITY, mse: 0 } },
  ],
  summary: { psnr: { mean: 30, min: 30, max: Number.POSITIVE_INFINITY }, mse: { mean: 2, min: 0, max: 4 } },
};

describe('comparisonTable', () => {
  it('has a row per image and one for the mean', () => {
    const lines = comparisonTable(comparison, ['psnr', 'mse']).split('\n');
    expect(lines.map((line) => line.split('|').map((cell) => cell.trim()))).toEqual([
      ['', 'image', 'psnr', 'mse', ''],
      expect.anything(),
      ['', 'a', '30.0000', '4.0000', ''],
      ['', 'b', '∞', '0.0000', ''],
      ['', 'mean of 2', '30.0000', '2.0000', ''],
    ]);
  });

  it('shrinks to the mean', () => {
    expect(comparisonTable(comparison, ['mse'], true).split('\n')).toHaveLength(3);
  });
});
