/**
 * `deja-dit calibrate`: forecast weights for one model, step count and some schedules, fitted to uncached runs of a few prompts and
 * written as the JSON that the forecaster `learned` takes.
 */
import { fitCoefficients } from '../cache/forecasters/fit.ts';
import { TrajectoryRecorder } from '../cache/run/trajectory.ts';
import { DejaDitError } from '../errors/errors.ts';
import { checkWritable, writeFileAtomically } from '../files/replace-file.ts';
import { DiffusionPipeline } from '../pipelines/diffusion-pipeline.ts';
import { interrupted } from './interrupt.ts';
import { type MemoryFlags, memoryOptions } from './memory-flags.ts';
import { type ModelFlags, modelOf } from './model-flags.ts';
import { ProgressBar } from './progress.ts';
import { scheduleMask } from './sweep/methods.ts';
import { calibrationPrompts, firstOf } from './sweep/prompts.ts';

export interface CalibrateFlags extends MemoryFlags, ModelFlags {
  prompts: number;
  steps: number;
  size?: { width: number; height: number };
  schedules: string[];
  out: string;
  threads?: number;
}

export async function calibrate({ steps, size, schedules, out, threads, ...flags }: CalibrateFlags): Promise<void> {
  const masks = schedules.map((name) => scheduleMask(name, steps));
  await checkWritable(out);
  const signal = interrupted;
  const { source, options: fromHub } = modelOf(flags);
  const memory = memoryOptions(flags);
  const pipe = await DiffusionPipeline.fromPretrained(source, { ...fromHub, ...memory.load, threads });
  const transformers = Object.values(pipe.transformers);
  if (transformers.length !== 1)
    throw new DejaDitError(
      'UNSUPPORTED',
      `${pipe.className} has ${transformers.length} transformers to calibrate; only one can be`,
    );
  const recorder = new TrajectoryRecorder(transformers[0]!);
  const prompts = firstOf(calibrationPrompts, flags.prompts);
  const bar = new ProgressBar('calibrating', prompts.length);
  for (const [i, prompt] of prompts.entries()) {
    // Seeds of their own: the sweep's begin at 0.
    const seed = 1000 + i;
    const what = { prompt, seed, numInferenceSteps: steps, ...size, ...memory.request, outputType: 'latent' } as const;
    await pipe.generate({ ...what, cache: recorder, signal });
    bar.update(i + 1);
  }
  bar.clear();
  const coefficients = fitCoefficients({ gram: recorder.gram, masks });
  await writeFileAtomically(out, `${JSON.stringify(coefficients)}\n`);
  console.log(
    `${out}: ${coefficients.entries.length} steps of ${schedules.join(', ')}, fitted to ${recorder.count} trajectories`,
  );
  await pipe.dispose();
  await pipe.programs.backend.dispose();
}
