/**
 * Calls of several requests side by side, so that spans which are the same are computed as one: each call is made as if it were alone, and
 * where it runs a span, it waits until all others have come to one of theirs, or to their end. Whose calls may share is up to the caller, what
 * they remember and decide up to their sessions.
 */
import type { SpanResult, SpanRun, SpanRunner, SpanRuns } from './span.ts';

/** With whom a call's spans may be computed. */
export interface Company {
  runner: SpanRunner;
  /** Calls of one kin have equal inputs but for the values in their rows; undefined: those of no other call. */
  kin: object | undefined;
  /** Calls that one run may be of. */
  most: number;
}

/** Calls that are made one after the other, each with the spans of its company. */
export type Lane = (spansIn: (company: Company) => SpanRuns) => Promise<void>;

interface Waiting {
  company: Company;
  run: SpanRun;
  resolve(result: Promise<SpanResult> | SpanResult): void;
}

/** Does the work of all lanes; what goes wrong in one is none of the others' business. */
export function runLanes(lanes: readonly Lane[]): Promise<PromiseSettledResult<void>[]> {
  const meeting = new Meeting(lanes.length);
  return Promise.allSettled(
    lanes.map(async (lane) => {
      try {
        await lane((company) => ({ run: (run) => meeting.wait(company, run) }));
      } finally {
        meeting.leave();
      }
    }),
  );
}

class Meeting {
  private waiting: Waiting[] = [];

  /** @param present lanes that have not ended */
  constructor(private present: number) {}

  wait(company: Company, run: SpanRun): Promise<SpanResult> {
    return new Promise((resolve) => {
      this.waiting.push({ company, run, resolve });
      this.check();
    });
  }

  leave(): void {
    this.present--;
    this.check();
  }

  private check(): void {
    if (this.waiting.length > 0 && this.waiting.length === this.present) void this.runAll(this.waiting.splice(0));
  }

  private async runAll(all: readonly Waiting[]): Promise<void> {
    for (const group of groupsOf(all)) await runGroup(group);
  }
}

/** Runs that are the same, by a power of two, so that there are few programs. */
function groupsOf(all: readonly Waiting[]): Waiting[][] {
  const alike: { key: string | undefined; members: Waiting[] }[] = [];
  for (const waiting of all) {
    const { company, run } = waiting;
    // Whoever has left is told so at once, and makes no common run fail.
    const key = company.kin && !run.signal?.aborted ? company.runner.keyOf(run) : undefined;
    const group = alike.find((other) => other.key === key && other.members[0]!.company.kin === company.kin);
    if (key !== undefined && group) group.members.push(waiting);
    else alike.push({ key, members: [waiting] });
  }
  return alike.flatMap(({ members }) => {
    const parts: Waiting[][] = [];
    for (let left = members; left.length > 0; left = left.slice(parts.at(-1)!.length)) {
      const most = Math.min(left[0]!.company.most, left.length);
      parts.push(left.slice(0, 2 ** Math.floor(Math.log2(most))));
    }
    return parts;
  });
}

async function runGroup(group: readonly Waiting[]): Promise<void> {
  const [{ company }] = group as readonly [Waiting, ...Waiting[]];
  const { runner } = company;
  if (group.length > 1) {
    try {
      const results = await runner.runTogether(group.map(({ run }) => run));
      for (const [i, { resolve }] of group.entries()) resolve(results[i]!);
      return;
    } catch {
      // Whose fault it is shows when each runs alone; the others then have their results.
    }
  }
  for (const { run, resolve } of group) {
    const result = runner.run(run);
    resolve(result);
    await result.catch(() => undefined);
  }
}
