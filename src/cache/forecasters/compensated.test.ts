/** Compensated Taylor on signals whose right answers are known by other means. */
import { describe, expect, it } from 'vitest';
import { compensated, compensatedWeights } from './compensated.ts';
import { taylorWeights } from './taylorseer.ts';

const apply = (weights: ArrayLike<number>, values: readonly number[]) =>
  values.reduce((total, value, i) => total + weights[i]! * value, 0);

describe('compensated Taylor', () => {
  const options = { order: 1, gain: 1, history: 8 };

  it('is Taylor until a gap has been closed by a computed step', () => {
    for (const positions of [[0], [1, 0], [5, 4, 3]]) {
      const input = { positions, first: 0, target: positions[0]! + 2 };
      expect([...compensatedWeights({ ...options, ...input })]).toEqual([...taylorWeights({ ...input, order: 1 })]);
    }
  });

  it('forecasts straight lines without error, whatever the gaps', () => {
    const positions = [11, 7, 6, 2, 1];
    const weights = compensatedWeights({ ...options, positions, first: 0, target: 14 });
    expect(apply(weights, positions)).toBeCloseTo(14, 9);
  });

  it('takes off what the forecasts before were wrong by: the sum over a gap and the step after it is right', () => {
    // A parabola, which order 1 misses and the interpolation meets.
    const truth = (step: number) => step * step - 3 * step;
    const early = [2, 1, 0];
    const missed = [3, 4].map((step) => {
      const weights = compensatedWeights({ ...options, positions: early, first: 0, target: step });
      return apply(weights, early.map(truth)) - truth(step);
    });
    const late = [5, 2, 1, 0];
    const taylor = apply(taylorWeights({ positions: late, first: 0, target: 6, order: 1 }), late.map(truth));
    const forecast = apply(compensatedWeights({ ...options, positions: late, first: 0, target: 6 }), late.map(truth));
    expect(taylor - forecast).toBeCloseTo(missed[0]! + missed[1]!, 9);
  });

  it('repays by half and half again with gain 0.5, and adds up to 1', () => {
    const positions = [5, 2, 1, 0];
    const at = (target: number, gain: number) => compensatedWeights({ ...options, gain, positions, first: 0, target });
    const plain = (target: number) => taylorWeights({ positions, first: 0, target, order: 1 });
    const debt = at(6, 1).map((weight, i) => plain(6)[i]! - weight);
    for (const [target, share] of [
      [6, 0.5],
      [7, 0.25],
      [8, 0.125],
    ] as const) {
      const weights = at(target, 0.5);
      weights.forEach((weight, i) => {
        expect(weight).toBeCloseTo(plain(target)[i]! - share * debt[i]!, 12);
      });
      expect(weights.reduce((total, weight) => total + weight, 0)).toBeCloseTo(1, 12);
    }
  });

  it('remembers as many tensors as it is told', () => {
    expect(compensated({ ...options, history: 5 }).historySize).toBe(5);
  });
});
