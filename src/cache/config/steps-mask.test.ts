import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { MASK_POLICIES, type StepMask, stepsMask } from './steps-mask.ts';

interface Golden {
  policies: Record<(typeof MASK_POLICIES)[number], Record<string, string | { error: string }>>;
  custom: { compute_bins: number[]; cache_bins: number[]; total_steps: number | null; mask: string }[];
}
const golden: Golden = JSON.parse(
  readFileSync(new URL('../../../fixtures/cache/steps-mask.json', import.meta.url), 'utf8'),
);
const text = (mask: StepMask) => mask.join('');

describe('stepsMask equals cache-dit', () => {
  it.each(MASK_POLICIES)('policy %s, every number of steps recorded', (maskPolicy) => {
    const cases = Object.entries(golden.policies[maskPolicy]);
    expect(cases.length).toBe(100);
    for (const [steps, expected] of cases) {
      const options = { totalSteps: Number(steps), maskPolicy, compat: 'cache-dit' as const };
      if (typeof expected === 'string') expect(text(stepsMask(options)), steps).toBe(expected);
      else expect(() => stepsMask(options), steps).toThrow(/must be 4, 6 or at least 8/);
    }
  });

  it('custom bins, cut to the number of steps', () => {
    expect(golden.custom.length).toBeGreaterThan(4);
    for (const { compute_bins, cache_bins, total_steps, mask } of golden.custom) {
      const options = { computeBins: compute_bins, cacheBins: cache_bins, totalSteps: total_steps ?? undefined };
      expect(text(stepsMask(options))).toBe(mask);
    }
  });
});

describe('stepsMask for the counts without preset', () => {
  it('keeps the share of the policy, computes first and last, and never caches more than two steps in a row', () => {
    const masks = Object.fromEntries(
      MASK_POLICIES.map((maskPolicy) => [
        maskPolicy,
        [1, 2, 3, 5, 7].map((totalSteps) => text(stepsMask({ totalSteps, maskPolicy }))).join(' '),
      ]),
    );
    expect(masks).toEqual({
      slow: '1 11 111 11101 1111101',
      medium: '1 11 101 11101 1110101',
      fast: '1 11 101 11001 1101001',
      ultra: '1 11 101 11001 1101001',
    });
  });
});

describe('stepsMask errors', () => {
  it.each([
    [{ maskPolicy: 'fast' }, /totalSteps: is required/],
    [{ maskPolicy: 'quick', totalSteps: 28 }, /maskPolicy: must be one of slow, medium, fast, ultra, got "quick"/],
    [{ totalSteps: 0 }, /totalSteps: must be an integer/],
    [{ totalSteps: 2.5 }, /totalSteps: must be an integer/],
    [{ computeBins: [4, 1], totalSteps: 8 }, /cacheBins: computeBins and cacheBins work only together/],
    [{ computeBins: [2], cacheBins: [-1] }, /cacheBins: must hold integers/],
    [{ computeBins: [2], cacheBins: [1], totalSteps: 9 }, /totalSteps: is 9, but the bins cover only 3/],
  ])('%j', (options, message) => {
    expect(() => stepsMask(options)).toThrow(message);
  });

  it('takes the first letter of a policy', () => {
    expect(stepsMask({ totalSteps: 28, maskPolicy: 'u' })).toEqual(stepsMask({ totalSteps: 28, maskPolicy: 'ultra' }));
  });
});
