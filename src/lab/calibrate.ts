/** Forecast weights for one model, step count and some schedules: least squares over uncached runs of a few prompts. */
import { fitCoefficients } from '../cache/forecasters/fit.ts';
import { TrajectoryRecorder } from '../cache/run/trajectory.ts';
import { DejaDitError } from '../errors/errors.ts';
import type { Pipeline } from '../pipelines/pipeline.ts';
import { scheduleMask } from './sweep/methods.ts';

export interface CalibrateOptions {
  prompts: readonly string[];
  /** Denoising steps. */
  steps: number;
  size?: { width: number; height: number } | undefined;
  /** Names of schedules, or digits, as `scheduleMask` reads them. */
  schedules: readonly string[];
  /** Bytes that a request may need besides the weights, as in `generate`. */
  maxMemory?: number | undefined;
  signal?: AbortSignal;
  /** Called after every prompt with how many are done. */
  onPrompt?: (done: number) => void;
}

export interface Calibration {
  /** What the forecaster `learned` takes. */
  coefficients: ReturnType<typeof fitCoefficients>;
  /** Runs of a model that they are fitted to: one for each prompt and guidance branch. */
  trajectories: number;
}

/**
 * @throws DejaDitError UNSUPPORTED for pipelines of several transformers, ABORTED
 */
export async function calibrate(pipe: Pipeline, options: CalibrateOptions): Promise<Calibration> {
  const { prompts, steps, size, schedules, maxMemory, signal, onPrompt } = options;
  const masks = schedules.map((name) => scheduleMask(name, steps));
  const transformers = Object.values(pipe.transformers);
  if (transformers.length !== 1)
    throw new DejaDitError(
      'UNSUPPORTED',
      `${pipe.className} has ${transformers.length} transformers to calibrate; only one can be`,
    );
  const recorder = new TrajectoryRecorder(transformers[0]!);
  for (const [i, prompt] of prompts.entries()) {
    // Seeds of their own: the sweep's begin at 0.
    const seed = 1000 + i;
    const what = { prompt, seed, numInferenceSteps: steps, ...size, maxMemory, outputType: 'latent' } as const;
    await pipe.generate({ ...what, cache: recorder, signal });
    onPrompt?.(i + 1);
  }
  return { coefficients: fitCoefficients({ gram: recorder.gram, masks }), trajectories: recorder.count };
}
