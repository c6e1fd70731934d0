import { expect, it } from 'vitest';
import { roundHalfEven } from './rounding.ts';

it('rounds to the nearest integer, ties to the even one', () => {
  const cases = [0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999999999999994, -0.2, 254.5, 1e15 + 0.5, -(2 ** 50) - 0.5, 7];
  expect(cases.map(roundHalfEven)).toEqual([0, 0, 2, 2, 0, -2, -2, 0, 0, 254, 1e15, -(2 ** 50), 7]);
});
