/** Ranks that are threads: what all transports do, and how they fail. */
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { solo } from '../solo.ts';
import { bundle } from '../testing/bundle.ts';
import { conform } from '../testing/conformance.ts';
import type { Outcome, Scenario } from '../testing/scenarios.ts';
import { createThreadSeats } from './seats.ts';

let program: Awaited<ReturnType<typeof bundle>>;
beforeAll(async () => {
  program = await bundle('thread-rank.ts');
});
afterAll(() => program[Symbol.dispose]());

/** @returns how it ended on each rank; nothing of ranks that ended without a word */
async function run(size: number, scenario: Scenario): Promise<(Outcome | undefined)[]> {
  return Promise.all(
    createThreadSeats(size).map(async (seat) => {
      const options = { workerData: { seat, scenario }, transferList: seat.ports };
      const thread = new Worker(pathToFileURL(program.file), options);
      let outcome: Outcome | undefined;
      thread.on('message', (message: Outcome) => {
        outcome = message;
      });
      await new Promise((resolve, reject) => thread.once('exit', resolve).once('error', reject));
      return outcome;
    }),
  );
}

it('a group of one needs nobody', async () => {
  await using group = solo();
  await conform(group);
});

describe.each([1, 2, 3, 4])('%d threads', (size) => {
  it('do what all transports do', async () => {
    for (const [rank, outcome] of (await run(size, 'conform')).entries())
      expect(outcome).toMatchObject({ rank, error: undefined });
  });
});

describe('a failure names the rank on all ranks', () => {
  it.each<[Scenario, RegExp]>([
    ['disagree', /^rank 3 calls allReduce \(sum\) of 5 float32, where ranks 0, 1, 2 call.* of 4 float32/],
    ['stray', /^rank 3 calls barrier, where ranks 0, 1, 2 call.* allReduce \(sum\) of 4 float32/],
    ['giveUp', /^rank 3 gave up: no memory left$/],
    ['hang', /^rank 3 made no call within 500 ms of rank \d's barrier: hanging/],
  ])('%s', async (scenario, message) => {
    for (const outcome of await run(4, scenario))
      expect(outcome?.error).toEqual({ code: 'RANK_FAILED', message: expect.stringMatching(message) });
  });

  it.each<[Scenario, RegExp, object | undefined]>([
    ['excess', /^rank 3 sends 2 elements to rank \d, which expects 1/, { code: 'RANK_FAILED' }],
    ['signal', /^rank 3 gave up: the request was aborted$/, { code: 'ABORTED' }],
    ['leave', /^rank 3 has closed its group, where the others call barrier$/, undefined],
    ['die', /^rank 3 died: its thread has ended$/, undefined],
  ])('%s', async (scenario, message, itself) => {
    const outcomes = await run(4, scenario);
    const failed = outcomes.pop();
    if (itself) expect(failed?.error).toMatchObject(itself);
    else expect(failed?.error).toBeUndefined();
    for (const outcome of outcomes)
      expect(outcome?.error).toEqual({ code: 'RANK_FAILED', message: expect.stringMatching(message) });
  });
});
