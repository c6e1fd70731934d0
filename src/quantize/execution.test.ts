/** Products with quantised weights, on every backend, against the same arithmetic in plain JavaScript. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder } from '../graph/builder.ts';
import { linear } from '../nn/linear.ts';
import { Module } from '../nn/module.ts';
import type { Backend } from '../runtime/backend.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { takeDown } from '../runtime/host-tensors.ts';
import { fromFloat32, toFloat32 } from '../tensor/convert.ts';
import { Generator } from '../tensor/generator.ts';
import { type Matrix, matrix, matrixOf, transpose } from '../tensor/linear-algebra/matrix.ts';
import { roundHalfEven } from '../tensor/rounding.ts';
import { floatTensor } from '../tensor/tensor.ts';
import type { WeightFormat } from '../weights/formats/weight-format.ts';
import { memoryWeights } from '../weights/weight-source.ts';
import { WeightStore } from '../weights/weight-store.ts';
import { decode, encode } from './formats/encode.ts';
import { peak, relativeError } from './formats/scales.ts';
import { hostProducts as products } from './testing/host-products.ts';

const [rows, inner, out] = [9, 256, 128];
const generator = new Generator(5);
const weight = matrixOf(generator.randn([out, inner]));
const bias = generator.randn([out]);
/** Rows of very different size, one of them zero, as the tokens of a real model are. */
const activations = generator.randn([rows, inner]).f32.map((value, i) => {
  const row = Math.floor(i / inner);
  return row === 4 ? 0 : value * 2 ** (row - 3);
});

type Round = (x: Float32Array) => Float32Array;

/** Values on the 8-bit grid between the smallest and the largest, zero included. */
const dynamic: Round = (x) => {
  const [low, high] = [Math.min(0, ...x), Math.max(0, ...x)];
  const scale = Math.fround((high - low) / 255) || 1;
  const zero = roundHalfEven(-low / scale);
  return x.map((value) => (Math.min(255, Math.max(0, roundHalfEven(value / scale) + zero)) - zero) * scale);
};
const float8: Round = (x) => {
  const scale = peak(x) / 448 || 1;
  return toFloat32(
    'float8_e4m3fn',
    fromFloat32(
      'float8_e4m3fn',
      x.map((value) => value / scale),
    ),
  ).map((v) => v * scale);
};
const chunks =
  (size: number, round: Round): Round =>
  (x) => {
    const result = new Float32Array(x.length);
    for (let i = 0; i < x.length; i += size) result.set(round(x.subarray(i, i + size)), i);
    return result;
  };
/** All rows are rounded on one grid after each was brought to the range -1…1. */
const dynamicRows: Round = (x) => {
  const spans = Array.from({ length: rows }, (_, row) => peak(x, row * inner, inner) || 1);
  const unit = dynamic(x.map((value, i) => value / spans[Math.floor(i / inner)]!));
  return unit.map((value, i) => value * spans[Math.floor(i / inner)]!);
};
const exact: Round = (x) => x;
/** 4-bit weights as they are multiplied: on a grid of 64 steps up to 8 times a row's largest scale. */
const sevenBits = ({ data, columns, rows: count }: Matrix, scale: Float32Array): Matrix => {
  const perRow = scale.length / count;
  const grid = data.map((value, i) => {
    const row = Math.floor(i / columns);
    const unit = Math.max(...scale.subarray(row * perRow, (row + 1) * perRow)) / 8;
    return roundHalfEven(value / unit) * unit;
  });
  return matrix(count, columns, grid);
};

const formats: [string, WeightFormat, Round][] = [
  ['int8 per row', { kind: 'int8', scales: 'row', activations: 'row' }, dynamicRows],
  ['int8 per tensor', { kind: 'int8', scales: 'tensor', activations: 'tensor' }, dynamic],
  ['int8 weights only', { kind: 'int8', scales: 'row', activations: 'float32' }, exact],
  ['int8 blocks', { kind: 'block', bits: 8, blockSize: 128 }, exact],
  ['int4 blocks', { kind: 'block', bits: 4, blockSize: 32 }, dynamicRows],
  ['float8 per row', { kind: 'float8', scales: 'row', activations: 'row' }, chunks(inner, float8)],
  ['float8 per tensor', { kind: 'float8', scales: 'tensor', activations: 'tensor' }, float8],
  ['float8 per tile', { kind: 'float8', scales: 'tile', activations: 'tile' }, chunks(128, float8)],
  ['float8 weights only', { kind: 'float8', scales: 'row', activations: 'float32' }, exact],
  ['nvfp4 per tensor', { kind: 'nvfp4', scales: 'tensor' }, exact],
  ['nvfp4 per row', { kind: 'nvfp4', scales: 'row' }, exact],
  ...([0, 16] as const).flatMap((rank) =>
    ([false, true] as const).map((smooth): [string, WeightFormat, Round] => [
      `SVDQuant, rank ${rank}${smooth ? ', smoothed' : ''}`,
      {
        kind: 'low-rank',
        rank,
        smooth,
        residual: smooth ? { kind: 'nvfp4', scales: 'row' } : { kind: 'block', bits: 4, blockSize: 64 },
      },
      smooth ? exact : dynamicRows,
    ]),
  ),
];

/** The product of int8 layers that a backend chooses is on trial in `int8-product.test.ts`; here it makes no difference. */
describe.each([
  ['cpu', {}],
  ['cpu, unsigned products', { int8Product: 'u8u8' }],
  ['wasm', { backend: 'wasm' }],
] as const)('%s', (_name, options) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await createBackend(options);
  });
  afterAll(() => backend.dispose());

  it.each(formats)('%s', async (_, format, round) => {
    const smooth = Float32Array.from({ length: inner }, (_unused, i) => 0.5 + (i % 7) / 4);
    const parts = await encode(weight, format, { method: 'exact', products, smooth });
    const decoded = await decode(parts, format, { columns: inner, products });
    const rest = format.kind === 'low-rank' ? format.residual : format;
    const fourBits = rest.kind === 'block' && rest.bits === 4;
    const coarse = fourBits ? await decode(parts, rest, { columns: inner, products }) : decoded;
    const multiplied = fourBits ? sevenBits(coarse, parts.scale!.f32) : decoded;
    // A low-rank branch is multiplied with activations as they are.
    const beside = matrix(
      out,
      inner,
      decoded.data.map((value, i) => value - coarse.data[i]!),
    );
    const source = memoryWeights({ 'ff.weight': floatTensor(weight.data, [out, inner]), 'ff.bias': bias });
    const store = await WeightStore.load(source, { backend, origin: 'test' });
    store.setQuantized('ff.weight', { format, shape: [out, inner], parts });

    const g = new GraphBuilder();
    const x = g.input('x', 'float32', [1, rows, inner]);
    g.output('y', linear(new Module(g, store, 'ff'), x, out));
    const graph = g.finish();
    const executable = await backend.compile(graph);
    const feeds = Object.fromEntries(graph.weights.map((slot) => [slot.slot, store.get(slot.name)]));
    const input = backend.upload(floatTensor(activations, [1, rows, inner]));
    const { y } = await executable.run({ x: input, ...feeds });
    const actual = (await takeDown(backend, { y: y! })).y!;
    input.dispose();
    await executable.dispose();

    const times = async (w: Matrix, rowwise: Float32Array) => {
      const { data } = await products.times(w, transpose(matrix(rows, inner, rowwise)));
      return transpose(matrix(out, rows, data)).data;
    };
    const [rounded, branch] = [await times(multiplied, round(activations)), await times(beside, activations)];
    const expected = rounded.map((value, i) => value + branch[i]! + Number(bias.data[i % out]));
    expect(actual.shape).toEqual([1, rows, out]);
    expect(relativeError(actual.f32, expected)).toBeLessThan(round === dynamic || round === dynamicRows ? 1e-3 : 2e-6);
    // The parts were given up to it, so they are gone with it.
    store.dispose();
  });
});
