import { describe, expect, it } from 'vitest';
import { gridPositions, rotaryTables } from './rotary.ts';

describe('rotaryTables', () => {
  const positions = [
    [0, -3],
    [2, 5],
    [2, 7.5],
  ];
  const axesDim = [4, 6];

  it('has one row of angles per token, axis by axis', () => {
    const { cos, sin } = rotaryTables(positions, { axesDim, theta: 100 });
    expect(cos.shape).toEqual([1, 3, 5]);
    for (const [token, [first, second]] of positions.entries()) {
      // θ^(−2i/d) written out: 100^0, 100^−½; 100^0, 100^−⅓, 100^−⅔.
      const angles = [first!, first! / 10, second!, second! / Math.cbrt(100), second! / Math.cbrt(10000)];
      for (const [i, angle] of angles.entries()) {
        expect(cos.data[5 * token + i]).toBeCloseTo(Math.cos(angle), 6);
        expect(sin.data[5 * token + i]).toBeCloseTo(Math.sin(angle), 6);
      }
    }
  });

  it('rounds angles to float32 where the model does', () => {
    const far = [[4001]];
    const single = rotaryTables(far, { axesDim: [6], theta: 10000, precision: 'single' });
    const frequency = Math.fround(1 / Math.fround(10000 ** Math.fround(1 / 3)));
    expect(single.sin.data[1]).toBe(Math.fround(Math.sin(Math.fround(4001 * frequency))));
    expect(single.sin.data[1]).not.toBe(rotaryTables(far, { axesDim: [6], theta: 10000 }).sin.data[1]);
  });
});

it('gridPositions counts row-major', () => {
  expect(gridPositions([2, 1, 2])).toEqual([
    [0, 0, 0],
    [0, 0, 1],
    [1, 0, 0],
    [1, 0, 1],
  ]);
});
