/** What caches did, as data and as text: `summary`, and the names of settings that files and tables are called by. */

import type { Cacheable } from '../cache/adapters/block-adapter.ts';
import { type CacheStats, type CallRecord, diffStatistics, measuredDiffs, noStats } from '../cache/report/stats.ts';
import { stepStrip } from '../cache/report/step-strip.ts';
import { settingsTag } from '../cache/report/tag.ts';
import { defaultCaches } from '../cache/run/default-caches.ts';
import { markdownTable } from '../metrics/markdown-table.ts';
import { describeInt8Product } from '../runtime/backend.ts';

export interface SummaryOptions {
  /** One entry per block group instead of one per transformer (which is that of its last group, as in cache-dit). */
  details?: boolean;
  /** Also print it, with `console.log`. Default true. */
  logging?: boolean;
}

/** The result of a request, as far as caches go. */
export interface Summarized {
  /** An entry for each block group of the transformers that were called, in order. */
  readonly summary: readonly CacheStats[];
}

/**
 * Statistics of a request. Without a cache, or before the first request, they are empty and the printed text says so.
 * @param of the result of `generate`; or a pipeline or transformer, whose latest request under the default cache is taken,
 *   finished or in progress
 * @example
 * summary(await pipe.generate({ prompt }));
 */
export function summary(
  of: Cacheable | Summarized,
  { details = false, logging = true }: SummaryOptions = {},
): CacheStats[] {
  const groups =
    'summary' in of ? of.summary : defaultCaches(of).flatMap(({ part, cache }) => cache?.stats() ?? [noStats(part)]);
  const isShown = ({ transformer }: CacheStats, i: number) => details || groups[i + 1]?.transformer !== transformer;
  const all = groups.filter(isShown);
  if (logging) console.log(all.map(summaryText).join('\n\n'));
  return all;
}

/**
 * The settings of a request in one name, equal to cache-dit's: `DBCache_F1B0_W8I1M0MC3_R0.24_T1O1_S12`, where S counts re-used
 * steps. Transformers with other settings follow after `+`; `NONE` without a cache.
 * @example
 * const result = await pipe.generate({ prompt });
 * console.log(strify(result)); // DBCache_F1B0_W8I1M0MC3_R0.24_T1O1_S12
 */
export function strify(of: Cacheable | Summarized | CacheStats): string {
  const all = 'cacheOptions' in of ? [of] : summary(of, { logging: false });
  return [...new Set(all.map(tagOf))].join('+');
}

const tagOf = ({ cacheOptions, accumulatedCachedSteps, prunedRatio, ranks }: CacheStats): string =>
  settingsTag({ ...cacheOptions, accumulatedCachedSteps, prunedRatio, ...(ranks ? { parallelism: ranks.tag } : {}) }) ||
  'NONE';

/** A Markdown table with a row per guidance branch, the request in one strip, and whatever needs explaining. */
export function summaryText(stats: CacheStats): string {
  const { transformer, blocks, calls, cacheOptions } = stats;
  if (!cacheOptions) {
    const lines = [`${transformer}: no cache is enabled, every call is computed in full`, ...means(stats)];
    return lines.join('\n');
  }
  const title = `${transformer}${blocks ? `, ${blocks}` : ''}: ${tagOf(stats)}`;
  if (calls.length === 0) return `${title}: no request yet`;
  const branches = [...new Set(calls.map(({ branch }) => branch))];
  const rows = branches.map((branch) =>
    branchRow(
      branch,
      calls.filter((call) => call.branch === branch),
    ),
  );
  const header = ['branch', 'calls', 're-used', 'min', 'P25', 'P50', 'P75', 'P95', 'max'];
  return [title, '', markdownTable(header, rows), '', stepStrip(calls), ...facts(stats), ...notes(calls)].join('\n');
}

function branchRow(branch: string, calls: readonly CallRecord[]): string[] {
  const diffs = diffStatistics(measuredDiffs(calls));
  const reused = calls.filter(({ action }) => action === 'reuse').length;
  const cells = diffs
    ? [diffs.min, diffs.p25, diffs.p50, diffs.p75, diffs.p95, diffs.max].map((diff) => diff.toPrecision(3))
    : Array<string>(6).fill('–');
  return [branch, String(calls.length), String(reused), ...cells];
}

/** How the machine computes. */
function means({ int8Product, ranks }: CacheStats): string[] {
  const lines = int8Product ? [`int8 products: ${describeInt8Product(int8Product)}`] : [];
  if (!ranks) return lines;
  const collectives = Object.entries(ranks.collectives).map(
    ([kind, { calls, bytes }]) => `${kind} ${calls} × ${(bytes / calls / 1e3).toFixed(1)} kB`,
  );
  const said = collectives.length > 0 ? `; received by each so far: ${collectives.join(', ')}` : '';
  return [...lines, `${ranks.ranks} ranks (${ranks.tag})${said}`];
}

function facts(stats: CacheStats): string[] {
  const { calls, computedShare, flopsShare, prunedRatio, peakBytes, programs, spans } = stats;
  const gates = new Map<string, number>();
  for (const { gate } of calls.flatMap((call) => call.blocks ?? [call])) gates.set(gate, (gates.get(gate) ?? 0) + 1);
  const lines = [
    `computed in full: ${percent(computedShare)} of the calls` +
      (flopsShare === null ? '' : `; spent: ${percent(flopsShare)} of the blocks' FLOPs`) +
      (prunedRatio === null ? '' : `; pruned: ${percent(prunedRatio)} of the blocks`),
    `decided by: ${[...gates].map(([gate, count]) => `${gate} ${count}`).join(', ')}`,
    `remembered: at most ${(peakBytes / 1e6).toFixed(2)} MB`,
  ];
  if (programs) {
    const { size, bytes, maxBytes, compiled, hits, evicted } = programs;
    const memory = `about ${(bytes / 1e6).toFixed(0)} of at most ${(maxBytes / 1e6).toFixed(0)} MB`;
    lines.push(`programs: ${size} held (${memory}), ${compiled} compiled, ${hits} uses, ${evicted} evicted`);
    if (spans) lines.push(`spans: ${spans.size} held, ${spans.built} built, ${spans.evicted} evicted`);
  }
  return [...lines, ...means(stats)];
}

/** Where a forecaster fell back, and how often. */
function notes(calls: readonly CallRecord[]): string[] {
  const counts = new Map<string, number>();
  for (const { note } of calls) if (note !== undefined) counts.set(note, (counts.get(note) ?? 0) + 1);
  return [...counts].map(([note, count]) => `note: ${note}${count > 1 ? ` (${count} calls)` : ''}`);
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
