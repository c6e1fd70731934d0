/**
 * Which family can do what, as a table in which every tick stands for tests that ran. The tests say themselves what they show
 * (`tests/covers.ts`); vitest writes it into its JSON report, with whether they passed.
 */
import { DejaDitError } from '../errors/errors.ts';
import { markdownTable } from '../metrics/markdown-table.ts';

/** What can be shown of a family, a column each. */
export const coverageChecks = {
  diffusers: 'equal to Diffusers',
  pipeline: 'pipeline equal to Diffusers',
  'cache-dit': 'cache-dit runs replayed',
  quantized: 'quantised',
} as const;

/** One test's contribution. */
export interface Coverage {
  /** Class name of the transformer. */
  family: string;
  check: keyof typeof coverageChecks;
  /** Largest max |difference| / max |value| that the test saw. */
  error?: number;
}

export interface Covered extends Coverage {
  passed: boolean;
}

interface Report {
  testResults: { assertionResults: { status: string; meta?: { coverage?: Coverage[] } }[] }[];
}

/**
 * What the tests of a report showed.
 * @param report JSON of `vitest run --reporter=json`
 * @throws DejaDitError INVALID_FILE if it is something else, or none of its tests says what it shows
 */
export function readCoverage(report: object): Covered[] {
  const { testResults } = report as Partial<Report>;
  const tests = testResults?.flatMap(({ assertionResults }) => assertionResults) ?? [];
  const covered = tests.flatMap(({ status, meta }) =>
    (meta?.coverage ?? []).map((coverage) => ({ ...coverage, passed: status === 'passed' })),
  );
  if (covered.length === 0) throw new DejaDitError('INVALID_FILE', 'holds no tests that say what they cover');
  return covered;
}

/** A row for each family, also for those of which nothing is shown. */
export function coverageTable(covered: readonly Covered[], families: readonly string[]): string {
  const checks = Object.keys(coverageChecks) as (keyof typeof coverageChecks)[];
  const cell = (family: string, check: string) => {
    const tests = covered.filter((test) => test.family === family && test.check === check);
    const failed = tests.filter(({ passed }) => !passed).length;
    if (tests.length === 0) return '';
    if (failed > 0) return `✗ ${failed} of ${tests.length} fail`;
    const errors = tests.flatMap(({ error }) => error ?? []);
    return `✓ ${tests.length}${errors.length > 0 ? ` (${Math.max(...errors).toExponential(0)})` : ''}`;
  };
  return markdownTable(
    ['transformer', ...Object.values(coverageChecks)],
    families.map((family) => [`\`${family}\``, ...checks.map((check) => cell(family, check))]),
  );
}
