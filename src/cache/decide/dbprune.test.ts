import { describe, expect, it } from 'vitest';
import { type CacheOptions, type DBPruneConfig, parseCacheConfig } from '../config/cache-config.ts';
import { assertPrunable, decidePrune, endPruneStep, prePrune, pruneByDiff, pruneThreshold } from './dbprune.ts';
import type { Decision } from './gates.ts';
import { type Resolved, resolveForSteps } from './resolved-config.ts';
import { beginStep, branchState, newCacheState } from './state.ts';

const BLOCKS = 6;
const setUp = (options: CacheOptions) => ({
  state: newCacheState(),
  config: resolveForSteps(
    parseCacheConfig({ cacheType: 'DBPrune', maxWarmupSteps: 1, ...options }),
  ) as Resolved<DBPruneConfig>,
  blocks: BLOCKS,
});
type Session = ReturnType<typeof setUp>;

function step(session: Session, diffs: readonly number[], branch?: string): Decision[] {
  beginStep({ ...session, branch });
  const decisions = diffs.map(
    (diff, block) => prePrune({ ...session, block }) ?? pruneByDiff({ ...session, block, diff }),
  );
  endPruneStep(session);
  return decisions;
}
const all = (diff: number) => new Array<number>(BLOCKS).fill(diff);
const pruned = (decisions: Decision[]) => decisions.filter(({ action }) => action === 'reuse').length;
const run = (session: Session, steps: number) => Array.from({ length: steps }, () => pruned(step(session, all(0.01))));

describe('cache-dit’s own example: six blocks, input grown by 3 % a step, R 0.05, W 2, F 1, B 1', () => {
  it('prunes 0, 0, 4, 4, 4, 0, 4, 4', () => {
    const session = setUp({ compat: 'cache-dit', Fn: 1, Bn: 1, residualDiffThreshold: 0.05, maxWarmupSteps: 2 });
    // every block adds what it did last time while pruned, so that its input departs from the remembered one slowly
    const gain = 1.03;
    const input: number[] = all(0);
    const added: number[] = all(0);
    const counts = Array.from({ length: 8 }, (_, k) => {
      beginStep(session);
      let hidden = 1;
      const decisions = input.map((_, block) => {
        const diff = Math.abs(hidden - input[block]!) / input[block]!;
        const decision = prePrune({ ...session, block }) ?? pruneByDiff({ ...session, block, diff });
        if (decision.action === 'compute') {
          if (decision.gate !== 'protected') input[block] = hidden;
          added[block] = gain ** k;
        }
        hidden += added[block]!;
        return decision;
      });
      endPruneStep(session);
      return pruned(decisions);
    });
    expect(counts).toEqual([0, 0, 4, 4, 4, 0, 4, 4]);
  });
});

describe('limits', () => {
  it('max continuous computes a whole step; in cache-dit one block of it', () => {
    const options = { residualDiffThreshold: 0.1, maxContinuousCachedSteps: 1 };
    expect(run(setUp(options), 6)).toEqual([0, 5, 0, 5, 0, 5]);
    expect(run(setUp({ ...options, Fn: 1, compat: 'cache-dit' }), 6)).toEqual([0, 4, 4, 4, 4, 4]);
  });

  it('max cached counts steps; cache-dit stops in the middle of the last one', () => {
    const options = { residualDiffThreshold: 0.1, maxCachedSteps: 1, maxContinuousCachedSteps: -1 };
    expect(run(setUp(options), 4)).toEqual([0, 5, 0, 0]);
    expect(run(setUp({ ...options, Fn: 1, compat: 'cache-dit' }), 4)).toEqual([0, 1, 0, 0]);
  });

  it('the accumulated diff is summed per block since it was computed; cache-dit sums nothing', () => {
    const options = { maxAccumulatedResidualDiffThreshold: 0.025, maxContinuousCachedSteps: -1 };
    expect(run(setUp(options), 9)).toEqual([0, 5, 5, 5, 0, 5, 5, 5, 0]);
    expect(run(setUp({ ...options, Fn: 1, compat: 'cache-dit' }), 9)).toEqual([0, ...new Array<number>(8).fill(5)]);
  });
});

describe('which blocks', () => {
  it('protects the first F, the last B and the named ones', () => {
    const session = setUp({ Fn: 1, Bn: 2, nonPruneBlockIds: [2, 17] });
    step(session, all(0));
    const gates = step(session, all(0.01)).map(({ gate, action }) => (gate === 'protected' ? 'P' : action[0]));
    expect(gates.join('')).toBe('PrPrPP');
    expect(branchState(session.state, 'cond')).toMatchObject({ prunedBlocks: [0, 2], actualBlocks: [6, 6] });
  });

  it('decides each block by its own diff', () => {
    const session = setUp({ residualDiffThreshold: 0.1 });
    step(session, all(0));
    const decisions = step(session, [0, 0.2, 0.05, 0.3, 0.01, 0.1]);
    expect(decisions.map(({ action }) => action[0]).join('')).toBe('ccrcrc');
    expect(decisions[1]!.reason).toBe('threshold 0.2 ≥ 0.1');
  });
});

describe('dynamic threshold', () => {
  const options = { residualDiffThreshold: 0.1, enableDynamicPruneThreshold: true };
  const relaxedBy = (diffs: readonly number[], more: CacheOptions = {}) => {
    const session = setUp({ ...options, ...more });
    step(session, all(0));
    step(session, [0, ...diffs]);
    return pruneThreshold(session.state, session.config);
  };

  it('is the relaxed mean of the first five diffs, between R and the cap', () => {
    expect(relaxedBy([0.1, 0.12, 0.14])).toBeCloseTo(0.15, 12);
    expect(relaxedBy([0.01, 0.02])).toBe(0.1);
    expect(relaxedBy([0.4, 0.4])).toBe(0.1);
    expect(relaxedBy([0.4, 0.4], { maxDynamicPruneThreshold: 0.6 })).toBeCloseTo(0.5, 12);
    expect(relaxedBy([0.1, 0.1], { dynamicPruneThresholdRelaxRatio: 1.5 })).toBeCloseTo(0.15, 12);
  });

  it('goes by the branch’s own diffs; in cache-dit the unconditional branch by the conditional one’s', () => {
    const secondBranch = (compat?: 'cache-dit') => {
      const session = setUp({ ...options, Fn: 1, compat, enableSeparateCfg: true });
      for (const diff of [0, 0, 0.14]) step(session, all(diff));
      beginStep(session);
      return pruneThreshold(session.state, session.config);
    };
    expect(secondBranch()).toBe(0.1);
    expect(secondBranch('cache-dit')).toBeCloseTo(0.175, 12);
  });
});

describe('two branches', () => {
  const options = { residualDiffThreshold: 0.1, enableSeparateCfg: true, cfgDiffComputeSeparate: false };

  it('share the diffs block by block; cache-dit raises', () => {
    const session = setUp(options);
    step(session, all(0));
    step(session, all(0));
    step(session, all(0.05));
    const decisions = step(session, all(0.9));
    expect(decisions.slice(1).map(({ action, diff }) => `${action} ${diff}`)).toEqual(new Array(5).fill('reuse 0.05'));
    expect(decisions[1]!.reason).toBe('threshold 0.05 < 0.1 (as measured on cond)');

    const compat = setUp({ ...options, Fn: 1, compat: 'cache-dit' });
    for (const diff of [0, 0, 0.05]) step(compat, all(diff));
    expect(() => step(compat, all(0.05))).toThrow('cfgDiffComputeSeparate: cache-dit cannot share diffs');
  });
});

describe('compat', () => {
  it('refuses the patterns cache-dit fails on', () => {
    const compat = setUp({ compat: 'cache-dit' }).config;
    expect(() => assertPrunable(compat, 3)).toThrow('cache-dit cannot prune blocks of pattern 3');
    expect(() => assertPrunable(compat, 2)).not.toThrow();
    expect(() => assertPrunable(setUp({}).config, 3)).not.toThrow();
  });
});

it('asks for a block’s diff only where no gate has decided', async () => {
  const session = setUp({ maxWarmupSteps: 1, Bn: 1 });
  const asked: string[] = [];
  for (let k = 0; k < 2; k++) {
    beginStep(session);
    for (let block = 0; block < BLOCKS; block++) {
      const diff = () => asked.push(`${k}.${block}`);
      await decidePrune({ ...session, block, diff });
    }
    endPruneStep(session);
  }
  expect(asked).toEqual(['1.1', '1.2', '1.3', '1.4']);
});
