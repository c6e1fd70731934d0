import { describe, expect, it } from 'vitest';
import { floatTensor, rows } from '../tensor/tensor.ts';
import { cleanTokenRows, tokenTimes } from './token-times.ts';

describe('tokenTimes', () => {
  it('leaves one time per sample as it is', () => {
    expect(tokenTimes(floatTensor([5, 7]), 3)).toEqual({ timestep: floatTensor([5, 7]) });
    expect(tokenTimes(floatTensor([5, 7], [2, 1]), 3)).toEqual({ timestep: floatTensor([5, 7]) });
  });

  it('gives every token the row of its own time', () => {
    const given = [
      [0, 9, 9],
      [0, 4, 9],
    ];
    const { timestep, temb_rows } = tokenTimes(floatTensor(given.flat(), [2, 3]), 3);
    expect(timestep.shape).toEqual([3]);
    expect(rows(temb_rows!).map((row) => row.map((at) => timestep.data[at]))).toEqual(given);
  });

  it('refuses another count of tokens', () => {
    expect(() => tokenTimes(floatTensor([1, 2], [1, 2]), 3)).toThrow('timestep: shape [1,2], expected [1] or [1, 3]');
  });
});

it('cleanTokenRows points clean tokens at the second half of the rows', () => {
  expect(rows(cleanTokenRows(2, [true, false, false]))).toEqual([
    [2, 0, 0],
    [3, 1, 1],
  ]);
});
