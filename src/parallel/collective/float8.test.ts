/** Rows in 8 bits: the codes of PyTorch's cast, each row at a scale of its own. */
import { describe, expect, it } from 'vitest';
import { fromFloat32, toFloat32 } from '../../tensor/convert.ts';
import { Generator } from '../../tensor/generator.ts';
import { decodeRows, encodeRows } from './float8.ts';

function encode(values: Float32Array, count: number) {
  const [scales, codes] = [new Float32Array(count), new Uint8Array(values.length)];
  const rows = { row: values.length / count, scales, codes };
  encodeRows({ ...rows, values });
  const decoded = new Float32Array(values.length);
  decodeRows({ ...rows, values: decoded });
  return { scales, codes, decoded };
}

describe('rows of float8', () => {
  it('are rounded to the nearest, ties to even, whatever the lower bits are', () => {
    // All halves between codes, a little beside them, the smallest numbers, and 448, so that the scale is 1.
    const numbers = toFloat32(
      'float8_e4m3fn',
      Uint8Array.from({ length: 127 }, (_, code) => code),
    );
    const halves = [...numbers.slice(0, -1)].map((number, i) => (number + numbers[i + 1]!) / 2);
    const near = halves.flatMap((half) => [half, half * (1 + 2 ** -23), half * (1 - 2 ** -23), half * 1.001, -half]);
    const values = Float32Array.from([...numbers, ...near, 2 ** -149, 2 ** -10, -0]);
    const { scales, codes } = encode(values, 1);
    expect([...scales]).toEqual([1]);
    expect(codes).toEqual(fromFloat32('float8_e4m3fn', values));
  });

  it('have scales of their own: an error of a sixteenth of a number at most, however large other rows are', () => {
    const [rows, row] = [64, 24];
    const values = new Generator(3)
      .randn([rows * row])
      .f32.map((value, i) => value * 10 ** ((Math.floor(i / row) % 9) - 4));
    const { scales, decoded } = encode(values, rows);
    for (const [i, value] of values.entries()) {
      const scale = scales[Math.floor(i / row)]!;
      // Half a step of three bits of fraction; or of the smallest numbers, 2^-9 apart.
      expect(Math.abs(decoded[i]! - value)).toBeLessThanOrEqual(
        Math.max(Math.abs(value) / 16, scale * 2 ** -10) * 1.0001,
      );
    }
  });

  it('keep zeros and what is no number', () => {
    const values = Float32Array.of(0, -0, 0, 1, Number.NaN, -2, 1e-42, 0, 0);
    const { decoded } = encode(values, 3);
    expect([...decoded.slice(0, 3)]).toEqual([0, -0, 0]);
    expect([...decoded.slice(4, 6)]).toEqual([Number.NaN, -2]);
    for (const value of decoded.slice(6)) expect(Math.abs(value)).toBeLessThan(1e-38);
  });
});
