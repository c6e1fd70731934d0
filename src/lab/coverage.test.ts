import { expect, it } from 'vitest';
import { coverageTable, readCoverage } from './coverage.ts';

const test = (status: string, error?: number) => ({
  status,
  meta: { coverage: [{ family: 'A', check: 'diffusers', error }] },
});

it('counts passing tests with their largest error, names failing ones, and leaves what nobody shows empty', () => {
  const report = (...assertionResults: object[]) => ({ testResults: [{ assertionResults }] });
  const cells = (covered: object) =>
    coverageTable(readCoverage(covered), ['A', 'B'])
      .split('\n')
      .slice(2)
      .map((row) =>
        row
          .split('|')
          .map((cell) => cell.trim())
          .slice(1, 3),
      );
  expect(cells(report(test('passed', 2e-6), test('passed', 3e-7), { status: 'failed' }))).toEqual([
    ['`A`', '✓ 2 (2e-6)'],
    ['`B`', ''],
  ]);
  expect(cells(report(test('passed', 2e-6), test('failed')))[0]).toEqual(['`A`', '✗ 1 of 2 fail']);
  expect(() => readCoverage(report({ status: 'passed' }))).toThrow('holds no tests that say what they cover');
  expect(() => readCoverage({})).toThrow('holds no tests');
});
