import { describe, expect, it } from 'vitest';
import { fromFloat32, toFloat32 } from './convert.ts';
import type { DType } from './dtype.ts';

const formats = [
  ['float16', 65536],
  ['bfloat16', 65536],
  ['float8_e4m3fn', 256],
  ['float8_e5m2', 256],
] as [DType, number][];

/** Every bit pattern of a narrow type. */
function patterns(count: number): Uint8Array | Uint16Array {
  return (count === 256 ? new Uint8Array(count) : new Uint16Array(count)).map((_, i) => i);
}

/** The float32 next to a positive one, upwards (1) or downwards (-1). */
function neighbour(value: number, direction: 1 | -1): number {
  const single = Float32Array.of(value);
  new Int32Array(single.buffer)[0]! += direction;
  return single[0]!;
}

describe('narrow floats', () => {
  it.each(formats)('every %s bit pattern survives widening and rounding back', (dtype, count) => {
    const bits = patterns(count);
    const wide = toFloat32(dtype, bits);
    const back = fromFloat32(dtype, wide);
    const changed = [...bits].filter((pattern) => !Number.isNaN(wide[pattern]) && back[pattern] !== pattern);
    expect(changed).toEqual([]);
  });

  it.each(formats)('%s rounds to the nearer neighbour and ties to the even one', (dtype, count) => {
    const wide = toFloat32(dtype, patterns(count));
    const wrong: number[] = [];
    for (let low = 0; low < count / 2 && Number.isFinite(wide[low + 1]); low++) {
      const middle = (wide[low]! + wide[low + 1]!) / 2;
      const inputs = Float32Array.of(middle, neighbour(middle, -1), neighbour(middle, 1), -middle);
      const even = low + (low % 2);
      const expected = [even, low, low + 1, even + count / 2];
      if (fromFloat32(dtype, inputs).some((bits, i) => bits !== expected[i])) wrong.push(low);
    }
    expect(wrong).toEqual([]);
  });

  // Recorded with PyTorch 2.15: torch.tensor(...).to(dtype), seen as integers.
  it.each([
    ['bfloat16', [1.00390625, 1.01171875, -0, 3.4e38, Infinity], [0x3f80, 0x3f82, 0x8000, 0x7f80, 0x7f80]],
    ['float16', [65504, 65519, 65536, -1e30, 6e-8, -Infinity], [0x7bff, 0x7bff, 0x7c00, 0xfc00, 0x0001, 0xfc00]],
    ['float16', [NaN], [0x7e00]],
    ['float8_e4m3fn', [448, 1.0625, 1.1875, 0.001, -0], [0x7e, 0x38, 0x3a, 0x01, 0x80]],
    ['float8_e4m3fn', [464, 465, 500, -500, 1e30, Infinity, -Infinity], [0x7e, 0x7e, 0x7e, 0xfe, 0x7e, 0x7e, 0xfe]],
    ['float8_e4m3fn', [NaN], [0x7f]],
    ['float8_e5m2', [57344, 61439, 61440, -65536, 1e30, -Infinity], [0x7b, 0x7b, 0x7c, 0xfc, 0x7c, 0xfc]],
    ['float8_e5m2', [NaN], [0x7f]],
  ] as [DType, number[], number[]][])('%s of %j', (dtype, values, bits) => {
    expect([...fromFloat32(dtype, Float32Array.from(values))]).toEqual(bits);
  });

  it('keeps NaN a NaN whatever its payload', () => {
    const payloads = new Float32Array(Uint32Array.of(0x7f800001, 0xffffffff, 0x7fc00000).buffer);
    for (const [dtype] of formats) {
      expect(toFloat32(dtype, fromFloat32(dtype, payloads)).every(Number.isNaN), dtype).toBe(true);
    }
  });
});
