/** What a job came to, in numbers. */
import type { CacheStats } from '../../src/cache/report/stats.ts';
import type { JobView } from '../api/types.ts';
import { bytes, duration, factor } from '../parts/format.ts';

/** How much less was computed of the blocks, over all transformers; undefined where nothing was cached. */
export function speedUp(summary: readonly CacheStats[] = []): number | undefined {
  const known = summary.filter(({ flopsShare, calls }) => flopsShare !== null && flopsShare > 0 && calls.length > 0);
  const calls = known.reduce((sum, one) => sum + one.calls.length, 0);
  if (calls === 0) return undefined;
  return calls / known.reduce((sum, one) => sum + one.flopsShare! * one.calls.length, 0);
}

/** Whether what was not computed was forecast; else it was used again as it was. */
export const forecasts = (summary: readonly CacheStats[] = []): boolean =>
  summary.every(({ cacheOptions }) => cacheOptions === null || cacheOptions.calibratorConfig !== null);

export const fewer = (by: number | undefined): string | undefined =>
  by === undefined ? undefined : `${factor(by)} fewer`;
export const flopsHelp = 'all of the blocks’ work over what was done of it';

export interface Figure {
  name: string;
  /** None as yet: the place is kept. */
  value: string | number | undefined;
  help?: string;
  /** As it was computed, for programs that read the page. */
  exact?: number | undefined;
}

export function FigureList({ entries, class: className = '' }: { entries: readonly Figure[]; class?: string }) {
  return (
    <dl class={`figures ${className}`}>
      {entries.map(({ name, value, help = '', exact }) => (
        <div key={name} title={help} data-figure={name} data-value={exact}>
          <dt>{name}</dt>
          <dd>{value || '–'}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Figures({ job: { report, files } }: { job: JobView }) {
  if (!report) return null;
  const { timings, steps, reusedSteps, summary, seed } = report;
  const remembered = Math.max(0, ...(summary ?? []).map(({ peakBytes }) => peakBytes));
  const [file] = files;
  const entries: Figure[] = [
    { name: 'Time', value: duration(timings.total), help: 'from the prompt to the pixels' },
    { name: 'Denoising', value: duration(timings.denoise) },
    { name: 'Computed', value: `${steps - reusedSteps} of ${steps}` },
    { name: 'FLOPs', value: fewer(speedUp(summary)) ?? 'all', help: flopsHelp },
    { name: 'Seed', value: [seed].flat().join(', ') },
    { name: 'Size', value: file && `${file.width} × ${file.height}` },
    { name: 'File', value: file && bytes(file.size) },
    { name: 'Remembered', value: remembered > 0 ? bytes(remembered) : 'nothing', help: 'the most that the cache held' },
  ];
  return (
    <>
      <FigureList entries={entries} />
      {report.warnings.map((warning) => (
        <p class="warning" key={warning}>
          {warning}
        </p>
      ))}
    </>
  );
}
