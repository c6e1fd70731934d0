import { describe, expect, it } from 'vitest';
import type { Tensor } from '../tensor/tensor.ts';
import { packingOf } from './packing.ts';

const values = (tensor: Tensor | undefined) => tensor && Array.from(tensor.data, Number);

describe('packingOf', () => {
  it('puts the second part right behind what is kept of the first', () => {
    const { length, tensors, mask } = packingOf({ kept: [3, 1], first: 3, second: 2 });
    expect(length).toBe(5);
    // A sample is 3 + 2 tokens and a row of zeros, so the second one starts at row 6 and its zeros are row 11.
    expect(values(tensors.packed_rows)).toEqual([0, 1, 2, 3, 4, 6, 9, 10, 11, 11]);
    expect(values(tensors.second_rows)).toEqual([3, 4, 6, 7]);
    expect(values(mask.bias)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, -10000, -10000]);
    expect(mask.keys).toBeUndefined();
  });

  it('drops a first part that no sample keeps', () => {
    const { length, tensors, mask } = packingOf({ kept: [0], first: 2, second: 2 });
    expect(length).toBe(2);
    expect(values(tensors.packed_rows)).toEqual([2, 3]);
    expect(values(tensors.second_rows)).toEqual([0, 1]);
    expect(mask).toEqual({});
  });

  it('is nothing where everything is kept', () => {
    expect(packingOf({ kept: [2, 2], first: 2, second: 4 })).toEqual({ length: 6, tensors: {}, mask: {} });
  });
});
