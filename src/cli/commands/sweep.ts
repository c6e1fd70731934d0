/**
 * `deja-dit sweep`: what a speed-up costs in image quality. Curves of settings against the uncached images as a table and a plot,
 * each beside plainly taking fewer steps; or, with `--schedules`, forecasters side by side under schedules fixed beforehand.
 */
import path from 'node:path';
import type { CalibratorOptions } from '../../cache/config/calibrator-config.ts';
import { readJsonFile } from '../../files/json.ts';
import { checkFolderWritable, writeFileAtomically } from '../../files/replace-file.ts';
import { loadSharp } from '../../images/sharp.ts';
import { firstOf, sweepPrompts } from '../../lab/prompts.ts';
import { chooseSettings } from '../../lab/sweep/methods.ts';
import { pointTable, scheduleTable, sweepPlot } from '../../lab/sweep/report.ts';
import { type Point, Sweep } from '../../lab/sweep/sweep.ts';
import { type MemoryFlags, memoryOptions } from '../flags/memory-flags.ts';
import { type ModelFlags, modelOf } from '../flags/model-flags.ts';
import { interrupted } from '../interrupt.ts';
import { ProgressBar } from '../output/progress.ts';

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
  const { methods, schedules, steps } = flags;
  const learned = await learnedFrom(flags.coefficients);
  const settings = chooseSettings({ methods, schedules, steps, learned });
  const prompts = firstOf(sweepPrompts, flags.prompts);
  const memory = memoryOptions(flags);
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
    maxProgramBytes: memory.load.maxProgramBytes,
    maxMemory: memory.request.maxMemory,
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
    if (!flags.schedules) await savePlot(sweepPlot(points, { prompts: prompts.length, steps: flags.steps }), file);
  }
  console.log(flags.json ? JSON.stringify(result, finite, 2) : table);
}

/** The forecaster `learned`, where a file of `deja-dit calibrate` is given. */
async function learnedFrom(file: string | undefined): Promise<CalibratorOptions | undefined> {
  return file === undefined ? undefined : { type: 'learned', coefficients: (await readJsonFile(file)) as never };
}

async function savePlot(svg: string, file: (name: string) => string): Promise<void> {
  await writeFileAtomically(file('sweep.svg'), svg);
  const sharp = await loadSharp();
  await writeFileAtomically(file('sweep.png'), await sharp(Buffer.from(svg), { density: 144 }).png().toBuffer());
}

/** JSON has no Infinity. */
const finite = (_key: string, value: unknown) =>
  typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
