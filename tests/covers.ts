/** What a test shows of a family, for the page of what works (`npm run matrix`): it goes into vitest's report with the result. */
import { TestRunner } from 'vitest';
import type { Coverage } from '../src/lab/coverage.ts';

declare module 'vitest' {
  interface TaskMeta {
    coverage?: Coverage[];
  }
}

/**
 * Says what the running test shows. Called first in the test, so that a failure counts wherever it happens.
 * @returns notes an error of the comparison, of which the largest is kept, and hands it on
 */
export function covers(shown: Omit<Coverage, 'error'>): (error: number) => number {
  const entry: Coverage = { ...shown };
  const { meta } = TestRunner.getCurrentTest()!;
  meta.coverage = [...(meta.coverage ?? []), entry];
  return (error) => {
    entry.error = Math.max(entry.error ?? 0, error);
    return error;
  };
}
