/** Codes and scales of every format equal those that PyTorch computes, bit for bit. */
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Matrix, matrixOf } from '../../tensor/linear-algebra/matrix.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { describeFormat, partsOf, type WeightFormat } from '../../weights/formats/weight-format.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { hostProducts } from '../testing/host-products.ts';
import { decode, encode } from './encode.ts';
import { decodeE2m1, encodeE2m1 } from './nvfp4.ts';
import { relativeError } from './scales.ts';

let reference: Record<string, Tensor>;
beforeAll(async () => {
  reference = await readSafetensors(
    path.resolve(import.meta.dirname, '../../../fixtures/quantize/reference.safetensors'),
  );
});

const load = (name: string): Matrix => matrixOf(reference[name]!);
const options = { method: 'exact', products: hostProducts } as const;

const int8 = (scales: 'row' | 'tensor'): WeightFormat => ({ kind: 'int8', scales, activations: scales });
const block = (bits: 4 | 8, blockSize: 32 | 64 | 128): WeightFormat => ({ kind: 'block', bits, blockSize });
const float8 = (scales: 'row' | 'tensor' | 'tile'): WeightFormat => ({ kind: 'float8', scales, activations: scales });
const nvfp4 = (scales: 'row' | 'tensor'): WeightFormat => ({ kind: 'nvfp4', scales });

/** Weight, recording, format, and how far decoded values may be from the weight. */
const cases: [string, string, WeightFormat, number][] = [
  ['small', 'int8.row', int8('row'), 0.012],
  ['small', 'int8.tensor', int8('tensor'), 0.03],
  ['tile', 'int8.row', int8('row'), 0.02],
  ['tile', 'int8.tensor', int8('tensor'), 0.1],
  ...(['small', 'ragged'] as const).flatMap((name) =>
    ([4, 8] as const).flatMap((bits) =>
      ([32, 64, 128] as const).map((size): [string, string, WeightFormat, number] => [
        name,
        `block.${bits}.${size}`,
        block(bits, size),
        bits === 4 ? 0.15 : 0.009,
      ]),
    ),
  ),
  ['small', 'float8.row', float8('row'), 0.04],
  ['small', 'float8.tensor', float8('tensor'), 0.04],
  ['tile', 'float8.row', float8('row'), 0.04],
  ['tile', 'float8.tile', float8('tile'), 0.04],
  ['small', 'nvfp4.row', nvfp4('row'), 0.14],
  ['small', 'nvfp4.tensor', nvfp4('tensor'), 0.14],
  ['tile', 'nvfp4.row', nvfp4('row'), 0.14],
  ['tile', 'nvfp4.tensor', nvfp4('tensor'), 0.14],
];

describe.each(cases)('%s as %s', (name, recording, format, tolerance) => {
  it(`${describeFormat(format)}: parts equal PyTorch's, and decode to about the weight`, async () => {
    const weight = load(name);
    const parts = await encode(weight, format, options);
    const specs = partsOf(format, [weight.rows, weight.columns]);
    expect(Object.keys(parts).sort()).toEqual(Object.keys(specs).sort());
    for (const [part, spec] of Object.entries(specs)) {
      expect(parts[part]).toMatchObject(spec);
      expect(parts[part]!.data, part).toEqual(reference[`${name}.${recording}.${part}`]!.data);
    }
    const decoded = await decode(parts, format, { columns: weight.columns, products: hostProducts });
    expect(relativeError(decoded.data, weight.data)).toBeLessThan(tolerance);
  });
});

it('e2m1 codes round to nearest, ties to even, and saturate', () => {
  const ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5, 100];
  expect(ties.map((x) => decodeE2m1(encodeE2m1(x)))).toEqual([0, 1, 1, 2, 2, 4, 4, 6]);
  expect(ties.map((x) => decodeE2m1(encodeE2m1(-x)))).toEqual([-0, -1, -1, -2, -2, -4, -4, -6]);
  for (let bits = 0; bits < 16; bits++) {
    if (bits !== 8) expect(encodeE2m1(decodeE2m1(bits))).toBe(bits);
  }
});
