/** `deja-dit metrics`: how much images differ from true ones, file by file or folder by folder. */
import { type Comparison, comparePaths, type MetricName, parseMetricNames } from '../../metrics/compare.ts';
import { markdownTable } from '../../metrics/markdown-table.ts';
import { jsonText } from '../output/format.ts';

export interface MetricsFlags {
  imgTrue: string;
  imgTest: string;
  psnrType?: 'skimage' | 'custom';
  summary?: boolean;
  json?: boolean;
}

export async function metrics(names: readonly string[], flags: MetricsFlags): Promise<void> {
  const wanted = parseMetricNames(names);
  const comparison = await comparePaths({
    reference: flags.imgTrue,
    test: flags.imgTest,
    metrics: wanted,
    psnrType: flags.psnrType,
  });
  if (flags.json) {
    // JSON has no Infinity, which is the PSNR of equal images.
    const finite = (_key: string, value: unknown) => (value === Number.POSITIVE_INFINITY ? 'Infinity' : value);
    console.log(jsonText(comparison, finite));
  } else console.log(comparisonTable(comparison, wanted, flags.summary));
}

/** One row per image and, of several, their mean; with `summary` that alone. */
export function comparisonTable(
  { rows, summary }: Comparison,
  metrics: readonly MetricName[],
  summaryOnly = false,
): string {
  const cells = (values: Partial<Record<MetricName, number>>) => metrics.map((name) => figure(values[name]!));
  const body = summaryOnly ? [] : rows.map(({ name, values }) => [name, ...cells(values)]);
  const means = Object.fromEntries(metrics.map((name) => [name, summary[name]!.mean]));
  if (summaryOnly || rows.length > 1) body.push([`mean of ${rows.length}`, ...cells(means)]);
  return markdownTable(['image', ...metrics], body);
}

function figure(value: number): string {
  return Number.isFinite(value) ? value.toFixed(4) : '∞';
}
