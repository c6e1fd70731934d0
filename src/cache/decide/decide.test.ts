/** cache-dit's behaviour is checked call by call in `traces.test.ts`; here: what is different without compat, and why. */
import { describe, expect, it } from 'vitest';
import { type CacheOptions, parseCacheConfig } from '../config/cache-config.ts';
import { decide, decideByDiff, preDecide } from './decide.ts';
import type { Decision } from './gates.ts';
import { resolveForSteps } from './resolved-config.ts';
import { beginStep, branchState, newCacheState } from './state.ts';

interface Call extends Decision {
  branch: string;
  step: number;
  refresh: string | undefined;
}

const setUp = (options: CacheOptions) => ({
  state: newCacheState(),
  config: resolveForSteps(parseCacheConfig(options)),
});
type Session = ReturnType<typeof setUp>;

function call(
  session: Session,
  args: { diff?: number; branch?: string; step?: number; shapeChanged?: boolean } = {},
): Call {
  const { diff = 0.01, branch, step, shapeChanged } = args;
  const refresh = beginStep({ ...session, branch, step });
  const decision = preDecide({ ...session, shapeChanged }) ?? decideByDiff({ ...session, diff });
  return { ...decision, ...session.state.current, refresh };
}

/** Calls with a probe that grows by 3 % a step: cache-dit's own example. Gives the re-used steps. */
function grow(session: Session, calls: number): number[] {
  let last = 0;
  return Array.from({ length: calls }, (_, k) => {
    const { action } = call(session, { diff: 1.03 ** (k - last) - 1 });
    if (action === 'compute') last = k;
    return { action, k };
  }).flatMap(({ action, k }) => (action === 'reuse' ? [k] : []));
}
const both = (options: CacheOptions, calls: number) => ({
  compat: grow(setUp({ Fn: 1, ...options, compat: 'cache-dit' }), calls),
  exact: grow(setUp(options), calls),
});
const always = { residualDiffThreshold: 1, maxContinuousCachedSteps: -1 };

describe('max continuous counts re-used steps in a row', () => {
  it.each([
    [1, 10, [2, 4, 5, 7, 8], [2, 4, 6, 8]], // cache-dit: after the first stop, 1 acts like 2
    [2, 14, [2, 3, 5, 6, 8, 9, 11, 12], [2, 3, 5, 6, 8, 9, 11, 12]],
  ])('MC %i, W 2', (maxContinuousCachedSteps, calls, compat, exact) => {
    expect(both({ ...always, maxWarmupSteps: 2, maxContinuousCachedSteps }, calls)).toEqual({ compat, exact });
  });

  it('MC 3 starts anew after each computed step, which cache-dit does not see', () => {
    const options = { ...always, maxWarmupSteps: 4, maxContinuousCachedSteps: 3 };
    expect(both(options, 16).compat).toEqual([4, 5, 6, 8, 9, 10, 12, 13, 14]);
    const mask = { ...options, maxWarmupSteps: 1, stepsComputationMask: [1, 0, 0, 1, 0, 0, 0, 0, 1] };
    expect(both(mask, 9)).toEqual({ compat: [1, 2, 4, 5, 7], exact: [1, 2, 4, 5, 6] });
  });

  it('warm-up interval 3: the steps between may be re-used', () => {
    const cached = [1, 2, 4, 5, 7, 8, 9];
    expect(both({ ...always, maxWarmupSteps: 8, warmupInterval: 3 }, 10)).toEqual({ compat: cached, exact: cached });
  });
});

describe('accumulated diff', () => {
  const options = { residualDiffThreshold: 0.08, maxWarmupSteps: 2, maxContinuousCachedSteps: -1 };

  it('sums the diffs; without limit both re-use the same', () => {
    const cached = [2, 3, 5, 6, 8, 9, 11, 12];
    expect(both(options, 14)).toEqual({ compat: cached, exact: cached });
    const session = setUp({ ...options, Fn: 1, compat: 'cache-dit' });
    grow(session, 14);
    expect(branchState(session.state, 'cond').accumulatedDiff).toBeCloseTo(0.734508, 6);
  });

  it('arms again at each computed step; in cache-dit it ends caching for good', () => {
    const limited = { ...options, residualDiffThreshold: 0.5, maxAccumulatedResidualDiffThreshold: 0.15 };
    expect(both(limited, 14)).toEqual({ compat: [2, 3, 4], exact: [2, 3, 4, 6, 7, 8, 10, 11, 12] });
    const narrow = { ...options, maxAccumulatedResidualDiffThreshold: 0.2 };
    expect(both(narrow, 14).compat).toEqual([2, 3, 5]);
  });
});

describe('refresh', () => {
  const always4 = { ...always, maxWarmupSteps: 1, numInferenceSteps: 4 };
  const computed = (session: Session, calls: number, branches: (string | undefined)[] = [undefined]) =>
    Array.from({ length: calls }, (_, k) => call(session, { branch: branches[k % branches.length] }))
      .map(({ action }, k) => (action === 'compute' ? k : -1))
      .filter((k) => k >= 0);

  it('numInferenceSteps begins a request with its first call; cache-dit one call late, from the old request', () => {
    expect(computed(setUp(always4), 12)).toEqual([0, 4, 8]);
    expect(computed(setUp({ ...always4, Fn: 1, compat: 'cache-dit' }), 12)).toEqual([0, 5, 10]);
  });

  it('with two branches the second request has them the right way round', () => {
    const options = { ...always, maxWarmupSteps: 1, numInferenceSteps: 3, enableSeparateCfg: true };
    const branchesOf = (session: Session) => Array.from({ length: 10 }, () => call(session).branch).slice(6);
    expect(branchesOf(setUp(options))).toEqual(['cond', 'uncond', 'cond', 'uncond']);
    const compat = setUp({ ...options, Fn: 1, compat: 'cache-dit' });
    expect(branchesOf(compat)).toEqual(['cond', 'cond', 'uncond', 'cond']);
    expect(computed(setUp(options), 12)).toEqual([0, 1, 6, 7]);
  });

  it('tells the caller to drop the tensors, and why', () => {
    const session = setUp({ ...always4, forceRefreshStepHint: 2 });
    const refreshes = Array.from({ length: 7 }, () => call(session).refresh);
    expect(refreshes).toEqual([
      undefined,
      undefined,
      'force_refresh',
      undefined,
      undefined,
      undefined,
      'num_inference_steps',
    ]);
  });

  it('a forced refresh counts steps, in cache-dit model calls; the totals of the request stay', () => {
    const options = { ...always, maxWarmupSteps: 1, forceRefreshStepHint: 3 } as const;
    expect(computed(setUp(options), 9)).toEqual([0, 3]);
    const repeat = setUp({ ...options, forceRefreshStepPolicy: 'repeat' });
    expect(computed(repeat, 9)).toEqual([0, 3, 6]);
    expect(repeat.state).toMatchObject({ executedSteps: 3, accumulatedExecutedSteps: 9 });
    expect(branchState(repeat.state, 'cond').accumulatedCachedSteps).toBe(6);

    const two = { ...options, enableSeparateCfg: true, forceRefreshStepPolicy: 'repeat' } as const;
    expect(computed(setUp(two), 12)).toEqual([0, 1, 6, 7]);
    expect(computed(setUp({ ...two, Fn: 1, compat: 'cache-dit' }), 7)).toEqual([0, 1, 3, 4, 6]);
  });

  it('goes by the step numbers of the caller where it gives them', () => {
    const session = setUp({ ...always, maxWarmupSteps: 1, forceRefreshStepHint: 3 });
    const steps = [0, 1, 2, 3, 4].map((step) => call(session, { step, branch: 'cond' }));
    expect(steps.map(({ action, step }) => `${action} ${step}`)).toEqual([
      'compute 0',
      'reuse 1',
      'reuse 2',
      'compute 0',
      'reuse 1',
    ]);
    expect(() => call(session, { step: 4, branch: 'cond' })).toThrow('step: 4 does not follow step 4 of "cond"');
  });
});

describe('branches', () => {
  it('named by the caller stay apart although one of them skips steps; by turns they would be swapped', () => {
    const session = setUp({ residualDiffThreshold: 0.5, maxWarmupSteps: 2, enableSeparateCfg: true });
    const calls: [string, number][] = [];
    for (let step = 0; step < 6; step++) {
      calls.push(['cond', step]);
      if (step !== 3) calls.push(['uncond', step]);
    }
    for (const [branch, step] of calls) expect(call(session, { branch, step })).toMatchObject({ branch, step });
    expect(branchState(session.state, 'cond').cachedSteps).toEqual([2, 3, 4]);
    expect(branchState(session.state, 'uncond').cachedSteps).toEqual([2, 4, 5]);
    expect(session.state.executedSteps).toBe(6);
  });

  it('limits hold for each branch alone', () => {
    const session = setUp({ ...always, maxWarmupSteps: 1, maxCachedSteps: 2, enableSeparateCfg: true });
    for (let k = 0; k < 12; k++) call(session);
    expect(branchState(session.state, 'cond').cachedSteps).toEqual([1, 2]);
    expect(branchState(session.state, 'uncond').cachedSteps).toEqual([1, 2]);
  });

  const shared = {
    Fn: 1,
    maxWarmupSteps: 1,
    residualDiffThreshold: 0.1,
    enableSeparateCfg: true,
    cfgDiffComputeSeparate: false,
  };
  const firstTwo = (options: CacheOptions) => {
    const session = setUp(options);
    call(session);
    call(session);
    return [call(session, { diff: 0.05 }), call(session, { diff: 0.5 })].map(({ diff, action }) => `${action} ${diff}`);
  };

  it('share the diff measured first, whichever branch that is; cache-dit only if it is the conditional one', () => {
    expect(firstTwo(shared)).toEqual(['reuse 0.05', 'reuse 0.05']);
    expect(firstTwo({ ...shared, compat: 'cache-dit' })).toEqual(['reuse 0.05', 'reuse 0.05']);
    expect(firstTwo({ ...shared, cfgComputeFirst: true })).toEqual(['reuse 0.05', 'reuse 0.05']);
    expect(firstTwo({ ...shared, cfgComputeFirst: true, compat: 'cache-dit' })).toEqual(['reuse 0.05', 'compute 0.5']);
  });
});

describe('static mask', () => {
  const options = { stepsComputationMask: [0, 1, 0, 0, 0], stepsComputationPolicy: 'static' } as const;

  it('re-uses whatever the limits say, but computes where there is nothing to re-use; cache-dit raises there', () => {
    const session = setUp({ ...options, residualDiffThreshold: 0.01, maxContinuousCachedSteps: 1 });
    const gates = Array.from({ length: 5 }, () => call(session, { diff: 0.9 }).gate);
    expect(gates).toEqual(['no_buffer', 'mask_compute', 'mask_static', 'mask_static', 'mask_static']);
    expect(() => call(setUp({ ...options, Fn: 1, compat: 'cache-dit' }))).toThrow(
      'cacheConfig.stepsComputationMask: step 0 must re-use, but nothing computed yet',
    );
  });

  it('computes the steps beyond its end; cache-dit re-uses them', () => {
    const six = (session: Session) => Array.from({ length: 6 }, () => call(session))[5]!;
    const mask = { ...options, stepsComputationMask: [1, 1, 0, 0, 0] };
    expect(six(setUp(mask))).toMatchObject({ action: 'compute', reason: 'beyond the 5 steps of the mask' });
    expect(six(setUp({ ...mask, Fn: 1, compat: 'cache-dit' }))).toMatchObject({ action: 'reuse', gate: 'mask_static' });
  });
});

describe('another shape', () => {
  it('is computed, at any threshold; in cache-dit a threshold of 1 raises', () => {
    const at = (residualDiffThreshold: number, compat?: 'cache-dit') => {
      const session = setUp({ Fn: 1, maxWarmupSteps: 1, residualDiffThreshold, compat });
      call(session);
      return () => call(session, { shapeChanged: true });
    };
    expect(at(1)()).toMatchObject({ action: 'compute', gate: 'no_buffer', reason: 'the shape changed' });
    expect(at(0.2)()).toMatchObject({ action: 'compute', diff: null });
    expect(at(0.2, 'cache-dit')()).toMatchObject({ action: 'compute', diff: -2 });
    expect(at(1, 'cache-dit')).toThrow('the shape changed');
  });
});

describe('reasons', () => {
  it('say what decided', () => {
    const session = setUp({
      maxWarmupSteps: 1,
      residualDiffThreshold: 0.12,
      maxCachedSteps: 3,
      maxContinuousCachedSteps: 2,
    });
    const diffs = [0, 0.0531, 0.131, 0.02, 0.03, 0.04, 0.05];
    expect(diffs.map((diff) => call(session, { diff }).reason)).toEqual([
      'warm-up',
      'threshold 0.0531 < 0.12',
      'threshold 0.131 ≥ 0.12',
      'threshold 0.02 < 0.12',
      'threshold 0.03 < 0.12',
      'max cached 3',
      'max cached 3',
    ]);
  });

  it('a diff that is no number computes', () => {
    const session = setUp({ maxWarmupSteps: 1 });
    call(session);
    expect(call(session, { diff: Number.NaN })).toMatchObject({ action: 'compute', gate: 'diff' });
  });
});

describe('decide', () => {
  it('asks for the diff only where no earlier gate has decided', async () => {
    const session = setUp({ maxWarmupSteps: 2, maxCachedSteps: 1 });
    const asked: number[] = [];
    for (let step = 0; step < 4; step++) {
      beginStep(session);
      const diff = async () => {
        asked.push(step);
        return 0.1;
      };
      await decide({ ...session, diff });
    }
    expect(asked).toEqual([2]);
  });

  it('keeps two requests apart, and its state survives a round trip through JSON', () => {
    const options = { maxWarmupSteps: 2, residualDiffThreshold: 0.1, maxContinuousCachedSteps: 2 };
    const [alone, one] = [setUp(options), setUp(options)];
    const other = setUp({ ...options, residualDiffThreshold: 0.3, enableSeparateCfg: true });
    for (let k = 0; k < 20; k++) {
      const expected = call(alone, { diff: 0.04 * (k % 4) });
      call(other, { diff: 0.05 * (k % 7) });
      one.state = JSON.parse(JSON.stringify(one.state));
      expect(call(one, { diff: 0.04 * (k % 4) })).toEqual(expected);
    }
    expect(one.state).toEqual(alone.state);
  });
});
