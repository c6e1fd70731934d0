import { expect, it } from 'vitest';
import { GraphBuilder } from '../graph/builder.ts';
import { dims, floatTensor, intTensor, lastDims } from './tensor.ts';

it('reads float32 and nothing else as float32', () => {
  const tensor = floatTensor([1, 2]);
  expect(tensor.f32).toBe(tensor.data);
  expect(() => intTensor([1]).f32).toThrow('Tensor(int64 [1]) is not float32; convert it with float()');
});

it('takes shapes apart only into as many dimensions as there are', () => {
  const tensor = floatTensor(new Float32Array(24), [2, 3, 4]);
  expect(dims(tensor, 3)).toEqual([2, 3, 4]);
  expect(lastDims(tensor, 2)).toEqual([3, 4]);
  expect([tensor.dim(0), tensor.dim(-1)]).toEqual([2, 4]);
  expect(() => dims(tensor, 2)).toThrow('shape [2,3,4] has 3 dimensions, expected 2');
  expect(() => lastDims(tensor, 4)).toThrow('shape [2,3,4] has 3 dimensions, expected 4');
  expect(() => tensor.dim(3)).toThrow('[2,3,4] has no axis 3');
});

it('names the module of a symbolic tensor that has other dimensions', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', [2, 3]);
  expect(() => g.scope('blocks.0', () => dims(x, 3))).toThrow(/blocks\.0.*shape \[2,3\] has 2 dimensions/);
});
