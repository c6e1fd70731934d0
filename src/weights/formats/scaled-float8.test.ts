/** Float8 beside scales: read as the numbers that it stands for, by every way of reading, or refused by name. */
import { describe, expect, it } from 'vitest';
import { decodeFloat8 } from '../../quantize/formats/float8.ts';
import { floatTensor, Tensor } from '../../tensor/tensor.ts';
import { memoryWeights } from '../weight-source.ts';
import { withScaledFloat8 } from './scaled-float8.ts';
import { type ScaleLayout, scaledCheckpoint } from './testing/scaled-float8.ts';

const original = {
  'blocks.0.wide.weight': floatTensor(new Float32Array(200 * 300), [200, 300]),
  'blocks.0.wide.bias': floatTensor([1, 2, 3]),
  'blocks.1.small.weight': floatTensor(new Float32Array(12), [3, 4]),
  'out.weight': floatTensor([5], [1, 1]),
};

describe('is read as weight × scale', () => {
  it.each<ScaleLayout>([
    { suffix: 'scale_weight', per: 'tensor', marker: 'scaled_fp8' },
    { suffix: 'weight_scale', per: 'tensor' },
    { suffix: 'weight_scale', per: 'row' },
    { suffix: 'weight_scale_inv', per: 'tile' },
  ])('%j', async (layout) => {
    const { scaled, plain } = scaledCheckpoint(original, layout);
    const source = await withScaledFloat8(memoryWeights(scaled));
    expect([...source.names].sort()).toEqual(Object.keys(plain).sort());
    for (const [name, expected] of Object.entries(plain)) {
      const { dtype, shape, bytes } = source.info(name);
      expect({ dtype, shape, bytes }).toEqual({ dtype: 'float32', shape: expected.shape, bytes: expected.bytes });
      for (const options of [{}, { widen: 'float32' } as const]) {
        expect((await source.read(name, options)).data, name).toEqual(expected.data);
      }
      const bytesRead = new Float32Array(expected.size);
      await source.readInto(name, new Uint8Array(bytesRead.buffer));
      expect(bytesRead, name).toEqual(expected.data);
    }
    const many: Record<string, Tensor> = {};
    await source.readMany(source.names, (name, tensor) => {
      many[name] = tensor;
    });
    for (const [name, { data }] of Object.entries(plain)) expect(many[name]!.data, name).toEqual(data);
  });

  it('leaves out the scales of activations', async () => {
    const { scaled, plain } = scaledCheckpoint(original, { suffix: 'scale_weight', per: 'tensor' });
    const source = memoryWeights({ ...scaled, 'blocks.0.wide.scale_input': floatTensor([2]) });
    expect((await withScaledFloat8(source)).names.toSorted()).toEqual(Object.keys(plain).sort());
  });
});

it('reads what has no scales as it is, and leaves a checkpoint without float8 alone', async () => {
  const plain = await withScaledFloat8(memoryWeights({ a: new Tensor('float8_e4m3fn', Uint8Array.of(0x3c), [1]) }));
  expect(plain.info('a').dtype).toBe('float32');
  expect((await plain.read('a')).data).toEqual(Float32Array.of(1.5));
  const other = memoryWeights({ a: floatTensor([1]) });
  expect(await withScaledFloat8(other)).toBe(other);
});

it.each(['tensor', 'row', 'tile'] as const)('holds weights with a scale per %s as they are stored', async (per) => {
  const weights = { 'blocks.0.wide.weight': floatTensor(new Float32Array(256 * 384), [256, 384]) };
  const { scaled, plain } = scaledCheckpoint(weights, { suffix: 'weight_scale', per });
  const source = await withScaledFloat8(memoryWeights(scaled));
  const held = source.stored!.hold(new Set(source.names));
  expect(held.quantized!.get('blocks.0.wide.weight')!.format).toEqual({
    kind: 'float8',
    scales: per,
    activations: 'float32',
  });
  const parts: Record<string, Tensor> = {};
  await held.readMany(held.names, (name, tensor) => {
    parts[name.replace('blocks.0.wide.weight.', '')] = tensor;
  });
  expect(parts['codes']!.dtype).toBe('float8_e4m3fn');
  expect(decodeFloat8(parts).data).toEqual(plain['blocks.0.wide.weight']!.data);
});

describe('is refused', () => {
  const { scaled } = scaledCheckpoint(original, { suffix: 'weight_scale', per: 'tensor', marker: 'scaled_fp8' });
  const small = 'blocks.1.small';
  it.each<[string, Record<string, Tensor | undefined>, string]>([
    [
      'without its scale',
      { [`${small}.weight_scale`]: undefined },
      `tensor "${small}.weight" is float8_e4m3fn without a scale`,
    ],
    [
      'with a scale for no weight',
      { [`${small}.weight`]: undefined },
      `"${small}.weight_scale" scales "${small}.weight", which is missing`,
    ],
    ['with a scale for other numbers', { [`${small}.weight`]: floatTensor([1]) }, 'which is float32, not float8'],
    [
      'with scales of another shape',
      { [`${small}.weight_scale`]: floatTensor([1, 2]) },
      'has shape [2], which is no scale for [3,4]',
    ],
    ['with a scale that is no number', { [`${small}.weight_scale`]: floatTensor([Number.NaN]) }, 'no finite numbers'],
  ])('%s', async (_, change, message) => {
    const changed = Object.entries({ ...scaled, ...change }).filter(
      (entry): entry is [string, Tensor] => entry[1] !== undefined,
    );
    await expect(withScaledFloat8(memoryWeights(Object.fromEntries(changed)))).rejects.toThrow(message);
  });
});
