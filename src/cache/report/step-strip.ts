/** What a cached request did, one cell per step: computed or re-used, and how far the probe had moved. */
import type { CallRecord } from './stats.ts';

const levels = '▁▂▃▄▅▆▇█';

/**
 * Lines for a terminal or log, for each guidance branch: ■ computed, · re-used; and below, if any was measured, the diffs against the
 * largest one of the request.
 */
export function stepStrip(calls: readonly CallRecord[]): string {
  const branches = [...new Set(calls.map(({ branch }) => branch))];
  const largest = Math.max(...calls.map(({ diff }) => diff ?? 0), 1e-9);
  const width = Math.max(...branches.map((name) => name.length), 'diff'.length);
  const lines = branches.flatMap((branch) => {
    const own = calls.filter((call) => call.branch === branch);
    const actions = own.map(({ action }) => (action === 'reuse' ? '·' : '■')).join('');
    const diffs = own
      .map(({ diff }) => (diff === null || diff < 0 ? ' ' : levels[Math.min(7, Math.floor((8 * diff) / largest))]))
      .join('');
    const reused = own.filter(({ action }) => action === 'reuse').length;
    const line = `${branch.padEnd(width)}  ${actions}  ${reused} of ${own.length} re-used`;
    return diffs.trim() === '' ? [line] : [line, `${'diff'.padEnd(width)}  ${diffs}`];
  });
  return [...lines, `${''.padEnd(width)}  ■ computed  · re-used  (largest diff ${largest.toPrecision(3)})`].join('\n');
}
