/**
 * `deja-dit calibrate`: forecast weights for one model, step count and some schedules, fitted to uncached runs of a few prompts and
 * written as the JSON that the forecaster `learned` takes.
 */
import { writeFile } from 'node:fs/promises';
import { fitCoefficients } from '../cache/forecasters/fit.ts';
import { TrajectoryRecorder } from '../cache/trajectory.ts';
import { DejaDitError } from '../errors/errors.ts';
import { DiffusionPipeline } from '../pipelines/diffusion-pipeline.ts';
import { abortOnInterrupt } from './interrupt.ts';
import { modelPath } from './model-path.ts';
import { ProgressBar } from './progress.ts';
import { scheduleMask } from './sweep/methods.ts';
import { calibrationPrompts } from './sweep/prompts.ts';

export interface CalibrateFlags {
  model?: string;
  prompts: number;
  steps: number;
  size?: { width: number; height: number };
  schedules: string[];
  out: string;
  threads?: number;
}

export async function calibrate({
  model,
  steps,
  size,
  schedules,
  out,
  threads,
  ...flags
}: CalibrateFlags): Promise<void> {
  const masks = schedules.map((name) => scheduleMask(name, steps));
  const signal = abortOnInterrupt();
  const pipe = await DiffusionPipeline.fromPretrained(modelPath(model), { threads, signal });
  const transformers = Object.values(pipe.transformers);
  if (transformers.length !== 1)
    throw new DejaDitError(
      'UNSUPPORTED',
      `${pipe.className} has ${transformers.length} transformers to calibrate; only one can be`,
    );
  const recorder = new TrajectoryRecorder(transformers[0]!);
  const prompts = calibrationPrompts.slice(0, flags.prompts);
  const bar = new ProgressBar('calibrating', prompts.length);
  for (const [i, prompt] of prompts.entries()) {
    // Seeds of their own: the sweep's begin at 0.
    const seed = 1000 + i;
    const what = { prompt, seed, numInferenceSteps: steps, ...size, outputType: 'latent' } as const;
    await pipe.generate({ ...what, cache: recorder, signal });
    bar.update(i + 1);
  }
  bar.clear();
  const coefficients = fitCoefficients({ gram: recorder.gram, masks });
  await writeFile(out, `${JSON.stringify(coefficients)}\n`);
  console.log(
    `${out}: ${coefficients.entries.length} steps of ${schedules.join(', ')}, fitted to ${recorder.count} trajectories`,
  );
  await pipe.dispose();
  await pipe.programs.backend.dispose();
}
