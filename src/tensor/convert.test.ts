import { describe, expect, it } from 'vitest';
import { fromFloat32, toFloat32 } from './convert.ts';
import type { DType } from './dtype.ts';

describe('narrow floats', () => {
  it.each([
    ['float16', 65536],
    ['bfloat16', 65536],
    ['float8_e4m3fn', 256],
    ['float8_e5m2', 256],
  ] as [DType, number][])('every %s bit pattern survives widening and rounding back', (dtype, count) => {
    const bits =
      count === 256
        ? Uint8Array.from({ length: count }, (_, i) => i)
        : Uint16Array.from({ length: count }, (_, i) => i);
    const wide = toFloat32(dtype, bits);
    const back = fromFloat32(dtype, wide);
    for (let i = 0; i < count; i++) if (!Number.isNaN(wide[i])) expect(back[i]).toBe(i);
  });

  it('rounds ties to even and overflows as PyTorch does', () => {
    // Recorded with torch.tensor(...).to(dtype).view(torch.uint8 or int16).
    expect([...fromFloat32('bfloat16', Float32Array.of(1.00390625, 1.01171875, -0, 3.4e38))]).toEqual([
      0x3f80, 0x3f82, 0x8000, 0x7f80,
    ]);
    expect([...fromFloat32('float8_e4m3fn', Float32Array.of(448, 1.0625, 1.1875, 0.001))]).toEqual([
      0x7e, 0x38, 0x3a, 0x01,
    ]);
    expect([...fromFloat32('float16', Float32Array.of(65504, 65536, 6e-8))]).toEqual([0x7bff, 0x7c00, 0x0001]);
  });
});
