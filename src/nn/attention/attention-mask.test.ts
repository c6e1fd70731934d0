import { describe, expect, it } from 'vitest';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { keyMask, tokenMask, trimText } from './attention-mask.ts';

const text = floatTensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [2, 3, 2]);
const values = (tensor: Tensor | undefined) => tensor && Array.from(tensor.data, Number);

describe('trimText', () => {
  it('keeps text without a mask, or with one that keeps everything', () => {
    expect(trimText(text, undefined)).toEqual({ text });
    expect(trimText(text, floatTensor([1, 1, 1, 1, 1, 1], [2, 3]))).toEqual({ text });
  });

  it('cuts what all samples pad, without any bias', () => {
    const trimmed = trimText(text, floatTensor([1, 1, 0, 1, 1, 0], [2, 3]));
    expect(trimmed.text.shape).toEqual([2, 2, 2]);
    expect(values(trimmed.text)).toEqual([1, 2, 3, 4, 7, 8, 9, 10]);
    expect(trimmed.bias).toBeUndefined();
  });

  it('hides holes and what only some samples pad', () => {
    const trimmed = trimText(text, floatTensor([0, 1, 0, 1, 0, 0], [2, 3]));
    expect(trimmed.text.shape).toEqual([2, 2, 2]);
    expect(values(trimmed.bias)).toEqual([-10000, 0, 0, -10000]);
  });

  it('keeps the padding of a sample without text, which is all it can attend to', () => {
    const trimmed = trimText(text, floatTensor([1, 0, 0, 0, 0, 0], [2, 3]));
    expect(trimmed.text).toBe(text);
    expect(values(trimmed.bias)).toEqual([0, -10000, -10000, -10000, -10000, -10000]);
  });
});

describe('keyMask', () => {
  it('picks the keys that some sample sees, and hides them from the others', () => {
    const { keys, bias } = keyMask([
      [true, false, false],
      [true, false, true],
    ]);
    expect(values(keys)).toEqual([0, 2]);
    expect(values(bias)).toEqual([0, -10000, 0, 0]);
  });

  it('is nothing where all keys are seen', () => {
    expect(keyMask([[true, true]])).toEqual({});
  });
});

describe('tokenMask', () => {
  it('silences masked tokens as queries too', () => {
    const { keys, bias, queries } = tokenMask([
      [true, false, true],
      [true, false, false],
    ]);
    expect(values(keys)).toEqual([0, 2]);
    expect(values(bias)).toEqual([0, 0, 0, -10000]);
    expect(values(queries)).toEqual([1, 0, 1, 1, 0, 0]);
    expect(queries!.shape).toEqual([2, 3, 1]);
  });

  it('is nothing where no token is masked', () => {
    expect(tokenMask([[true, true]])).toEqual({});
  });
});
