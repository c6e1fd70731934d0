/**
 * `deja-dit sweep`: what a speed-up costs in image quality. Curves of settings against the uncached images as a table and a plot,
 * each beside plainly taking fewer steps; or, with `--schedules`, forecasters side by side under schedules fixed beforehand.
 */
import path from 'node:path';
import { readJsonFile } from '../../files/json.ts';
import { checkFolderWritable, writeFileAtomically } from '../../files/replace-file.ts';
import { loadSharp } from '../../images/sharp.ts';
import { markdownTable } from '../../metrics/markdown-table.ts';
import { interrupted } from '../interrupt.ts';
import { type MemoryFlags, memoryOptions } from '../memory-flags.ts';
import { type ModelFlags, modelOf } from '../model-flags.ts';
import { ProgressBar } from '../progress.ts';
import { forecasters, scheduled, settingsOf, unknown } from './methods.ts';
import { plotSvg } from './plot.ts';
import { firstOf, sweepPrompts } from './prompts.ts';
import { type Point, type Setting, Sweep } from './run.ts';

export interface SweepFlags extends MemoryFlags, ModelFlags {
  prompts: number;
  methods?: string[];
  schedules?: string[];
  coefficients?: string;
  steps: number;
  size?: { width: number; height: number };
  out?: string;
  threads?: number;
  json?: boolean;
}

export async function sweep(flags: SweepFlags): Promise<void> {
  if (flags.out !== undefined) await checkFolderWritable(flags.out);
  const settings = await chooseSettings(flags);
  const prompts = firstOf(sweepPrompts, flags.prompts);
  const signal = interrupted;
  const bar = new ProgressBar('sweeping', (settings.length + 1) * prompts.length);
  let done = 0;
  const run = await Sweep.start({
    model: modelOf(flags),
    prompts,
    steps: flags.steps,
    // Fixed schedules need no decision, so that prompts can share requests.
    batch: flags.schedules ? 10 : 1,
    size: flags.size,
    threads: flags.threads,
    memory: memoryOptions(flags),
    signal,
    onImage: ({ method, label }) => bar.update(++done, `${method} ${label}`),
  });
  const points: Point[] = [];
  for (const setting of settings) points.push(await run.measure(setting));
  bar.clear();
  const result = { prompts: prompts.length, steps: flags.steps, uncachedSeconds: run.uncachedSeconds, points };
  await run.end();

  const table = flags.schedules ? scheduleTable(points, flags.schedules) : pointTable(points, run.uncachedSeconds);
  if (flags.out !== undefined) {
    const file = (name: string) => path.join(flags.out!, name);
    await writeFileAtomically(file('sweep.json'), `${JSON.stringify(result, finite, 2)}\n`);
    await writeFileAtomically(file('sweep.md'), `${table}\n`);
    if (!flags.schedules) await savePlot(points, { prompts: prompts.length, steps: flags.steps, file });
  }
  console.log(flags.json ? JSON.stringify(result, finite, 2) : table);
}

async function chooseSettings({ methods, schedules, steps, coefficients }: SweepFlags): Promise<Setting[]> {
  if (!schedules) return settingsOf(methods ?? ['plain', 'cache-dit', 'cache-dit-scm', 'default'], steps);
  const known = { ...forecasters, ...(await learnedFrom(coefficients)) };
  return (methods ?? Object.keys(known)).flatMap((method) =>
    schedules.map((schedule) => {
      const calibrator = known[method];
      if (calibrator === undefined) return unknown(method, Object.keys(known));
      return scheduled({ method, calibrator, schedule, steps });
    }),
  );
}

/** The forecaster `learned`, where a file of `deja-dit calibrate` is given. */
async function learnedFrom(file: string | undefined): Promise<typeof forecasters> {
  return file === undefined ? {} : { learned: { type: 'learned', coefficients: (await readJsonFile(file)) as never } };
}

async function savePlot(
  points: readonly Point[],
  { prompts, steps, file }: { prompts: number; steps: number; file: (name: string) => string },
): Promise<void> {
  const names = [...new Set(points.map(({ method }) => method))];
  const svg = plotSvg({
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
  await writeFileAtomically(file('sweep.svg'), svg);
  const sharp = await loadSharp();
  await writeFileAtomically(file('sweep.png'), await sharp(Buffer.from(svg), { density: 144 }).png().toBuffer());
}

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

/** JSON has no Infinity. */
const finite = (_key: string, value: unknown) =>
  typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
