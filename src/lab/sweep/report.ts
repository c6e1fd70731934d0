/** A sweep's points as tables and as a plot. */
import { markdownTable } from '../../metrics/markdown-table.ts';
import { plotSvg } from './plot.ts';
import type { Point } from './sweep.ts';

/** One row per setting; `time` is the wall-clock speed-up of denoising. */
export function pointTable(points: readonly Point[], uncachedSeconds: number): string {
  return markdownTable(
    ['setting', 'speed-up', 'PSNR', 'worst', 'time'],
    points.map(({ method, label, speedup, psnr, worst, seconds }) => [
      `${method}, ${label}`,
      `${speedup.toFixed(2)}×`,
      psnr.toFixed(1),
      worst.toFixed(1),
      `${(uncachedSeconds / seconds).toFixed(2)}×`,
    ]),
  );
}

/** One row per forecaster, one column per schedule: PSNR, and the worst prompt's in brackets. */
export function scheduleTable(points: readonly Point[], schedules: readonly string[]): string {
  const methods = [...new Set(points.map(({ method }) => method))];
  const at = (method: string, schedule: string) =>
    points.find((point) => point.method === method && point.label === schedule)!;
  return markdownTable(
    ['forecaster', ...schedules.map((schedule) => `${schedule}, ${at(methods[0]!, schedule).speedup.toFixed(2)}×`)],
    methods.map((method) => [
      method,
      ...schedules.map((schedule) => {
        const { psnr, worst } = at(method, schedule);
        return `${psnr.toFixed(1)} (${worst.toFixed(1)})`;
      }),
    ]),
  );
}

/** Curves of quality against speed-up, as an SVG document. */
export function sweepPlot(points: readonly Point[], { prompts, steps }: { prompts: number; steps: number }): string {
  const names = [...new Set(points.map(({ method }) => method))];
  return plotSvg({
    title: `Image quality against speed-up (${steps} steps, mean of ${prompts} prompts)`,
    xLabel: 'speed-up: uncached FLOPs of the transformer over those spent',
    yLabel: 'PSNR against the uncached image, dB',
    curves: names.map((name) => ({
      name,
      baseline: name === 'plain',
      points: points
        .filter(({ method }) => method === name)
        .map(({ speedup, psnr, label }) => ({ x: speedup, y: psnr, label })),
    })),
  });
}
