/** Weights that bitsandbytes has packed, against what it unpacks itself; what is held against what is read; damaged ones. */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { fixtures } from '../../models/testing/golden.ts';
import { decode } from '../../quantize/formats/encode.ts';
import { floatTensor, Tensor } from '../../tensor/tensor.ts';
import { readSafetensors } from '../safetensors/safetensors.ts';
import { memoryWeights, type WeightSource } from '../weight-source.ts';
import { describedSource, withFourBits } from './four-bits.ts';
import { withInt8Rows } from './int8-rows.ts';
import { readQuantStates } from './quant-state.ts';

const recorded = await readSafetensors(path.join(fixtures, 'single-file/bitsandbytes/layers.safetensors'));
const dequantised = 'dequant.';
const packed = Object.fromEntries(Object.entries(recorded).filter(([name]) => !name.startsWith(dequantised)));

async function open(tensors: Record<string, Tensor>): Promise<WeightSource> {
  const source = memoryWeights(tensors);
  const layers = await readQuantStates(source);
  return withInt8Rows(withFourBits(describedSource(source, layers), { layers, packed: source }));
}

/** Of the largest matrix four rows are recorded. */
const rowsOf: Record<string, { from: number; to: number }> = { 'fp4_nested.weight': { from: 32, to: 36 } };
const held: Record<string, string> = {
  'fp4.weight': 'table',
  'fp4_nested.weight': 'table',
  'nf4_128.weight': 'table',
  'int8.weight': 'int8',
};
const weights = Object.keys(recorded).flatMap((name) => (name.startsWith(dequantised) ? [name.slice(8)] : []));

describe.each(weights)('%s', (name) => {
  it('is what bitsandbytes reads', async () => {
    const source = await open(packed);
    const rows = rowsOf[name];
    const tensor = await source.readPart(name, [rows ? [rows] : undefined]);
    const expected = recorded[dequantised + name]!;
    expect(tensor.shape).toEqual(expected.shape);
    // Zeros may have a sign.
    const plus = ({ f32 }: Tensor) => f32.map((x) => x + 0);
    if (name === 'int8.weight') expect(plus(tensor)).toEqual(plus(expected));
    else expect(largestDifference(tensor, expected)).toBeLessThan(6e-8);
  });

  it('is held as what it is read as', async () => {
    const source = await open(packed);
    const holding = source.stored!.hold(new Set([name]));
    const layer = holding.quantized?.get(name);
    expect(layer?.format.kind).toBe(held[name]);
    if (!layer) return;
    const { format, shape } = layer;
    const parts: Record<string, Tensor> = {};
    for (const part of holding.names)
      if (part.startsWith(`${name}.`)) parts[part.slice(name.length + 1)] = await holding.read(part);
    const products = { times: () => Promise.reject(), transposedTimes: () => Promise.reject() };
    const { data } = await decode(parts, format, { columns: shape[1]!, products });
    const decoded = floatTensor(Float32Array.from(data), shape);
    expect(largestDifference(decoded, await source.read(name))).toBeLessThan(name === 'int8.weight' ? 2e-7 : 1e-30);
  });
});

function largestDifference(a: Tensor, b: Tensor): number {
  const largest = Math.max(...b.f32.map(Math.abs));
  return Math.max(...a.f32.map((x, i) => Math.abs(x - b.f32[i]!))) / largest;
}

it('says how weights lie in the file', async () => {
  const source = await open(packed);
  expect(source.info('fp4.weight')).toMatchObject({
    dtype: 'float32',
    shape: [6, 64],
    stored: { type: 'fp4', bytes: 192 },
  });
  expect(source.info('int8.weight')).toMatchObject({ dtype: 'float32', stored: { type: 'int8', bytes: 384 } });
});

it('has every kind of what is recorded', () => {
  expect(weights.length).toBe(6);
});

describe('refuses', () => {
  const text = (words: string) => new Tensor('uint8', new TextEncoder().encode(words), [words.length]);
  const state = 'fp4.weight.quant_state.bitsandbytes__fp4';
  const described = (json: object) => ({ [state]: text(JSON.stringify(json)) });
  const fp4 = { quant_type: 'fp4', blocksize: 64, dtype: 'float32', shape: [6, 64] };

  it.each<[string, Record<string, Tensor>, string]>([
    ['a shape that the bytes have not', described({ ...fp4, shape: [6, 65] }), 'tensor "fp4.weight" is uint8 [192,1]'],
    ['a shape that is none', described({ ...fp4, shape: [6, 64, 1e300] }), 'does not describe a matrix in 4 bits'],
    ['blocks of no size', described({ ...fp4, blocksize: 0 }), 'does not describe a matrix in 4 bits'],
    ['blocks of another size', described({ ...fp4, blocksize: 32 }), 'tensor "fp4.weight.absmax" is float32 [6]'],
    ['no JSON', { [state]: text('{') }, `tensor "${state}"`],
    ['a novel', { [state]: text(' '.repeat(5000)) }, 'has 5000 bytes'],
    ['a short table', { 'fp4.weight.quant_map': floatTensor([1, 2]) }, '"fp4.weight.quant_map" is float32 [2]'],
    [
      'storage of another type',
      { 'fp4.weight': new Tensor('bfloat16', new Uint16Array(96), [96, 1]) },
      'is bfloat16 [96,1]',
    ],
    ['scales of other rows', { 'int8.SCB': floatTensor([1]) }, 'is no int8 matrix of bitsandbytes'],
  ])('%s', async (_, changes, message) => {
    await expect(open({ ...packed, ...changes })).rejects.toThrow(message);
  });

  it('a weight without its scales', async () => {
    const { 'fp4.weight.absmax': _, ...others } = packed;
    await expect(open(others)).rejects.toThrow('no tensor "fp4.weight.absmax"');
  });
});
