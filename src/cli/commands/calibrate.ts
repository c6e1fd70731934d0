/** `deja-dit calibrate`: forecast weights for a model, as the JSON that the forecaster `learned` takes. */
import { checkWritable, writeFileAtomically } from '../../files/replace-file.ts';
import { calibrate as calibrateModel } from '../../lab/calibrate.ts';
import { calibrationPrompts, firstOf } from '../../lab/prompts.ts';
import { scheduleMask } from '../../lab/sweep/methods.ts';
import { DiffusionPipeline } from '../../pipelines/diffusion-pipeline.ts';
import { type MemoryFlags, memoryOptions } from '../flags/memory-flags.ts';
import { type ModelFlags, modelOf } from '../flags/model-flags.ts';
import { interrupted } from '../interrupt.ts';
import { ProgressBar } from '../output/progress.ts';

export interface CalibrateFlags extends MemoryFlags, ModelFlags {
  prompts: number;
  steps: number;
  size?: { width: number; height: number };
  schedules: string[];
  out: string;
  threads?: number;
}

export async function calibrate({ steps, size, schedules, out, threads, ...flags }: CalibrateFlags): Promise<void> {
  // Refused before anything is loaded.
  for (const name of schedules) scheduleMask(name, steps);
  const prompts = firstOf(calibrationPrompts, flags.prompts);
  await checkWritable(out);
  const { source, options: fromHub } = modelOf(flags);
  const memory = memoryOptions(flags);
  const pipe = await DiffusionPipeline.fromPretrained(source, { ...fromHub, ...memory.load, threads });
  const bar = new ProgressBar('calibrating', prompts.length);
  const onPrompt = (done: number) => bar.update(done);
  const how = { prompts, steps, size, schedules, ...memory.request, signal: interrupted, onPrompt };
  const { coefficients, trajectories } = await calibrateModel(pipe, how);
  bar.clear();
  await writeFileAtomically(out, `${JSON.stringify(coefficients)}\n`);
  console.log(
    `${out}: ${coefficients.entries.length} steps of ${schedules.join(', ')}, fitted to ${trajectories} trajectories`,
  );
  await pipe.dispose();
  await pipe.programs.backend.dispose();
}
