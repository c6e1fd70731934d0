/**
 * The denoising loop that all pipelines share: for every timestep call the model once per guidance branch, combine, and let the
 * scheduler step. What the model is called with is the pipeline's business, what a call costs is the session's.
 */
import { DejaDitError, throwIfAborted } from '../errors/errors.ts';
import type { Image } from '../images/image.ts';
import type { ForwardInputs } from '../models/inputs.ts';
import type { ForwardSession, StepReport, TransformerModel } from '../models/transformer-model.ts';
import type { Scheduler } from '../schedulers/scheduler.ts';
import type { Generator } from '../tensor/generator.ts';
import { floatTensor, type Tensor } from '../tensor/tensor.ts';
import type { StepEvent } from './options.ts';

export interface GuidanceBranch {
  name: string;
  /** What differs between branches: prompt embeddings and the like. */
  inputs: ForwardInputs;
}

export interface DenoiseOptions {
  /** The model for a timestep; two-expert models have two. */
  modelAt(timestep: number): TransformerModel;
  scheduler: Scheduler;
  latents: Tensor;
  branches: readonly GuidanceBranch[];
  /** Inputs of one call besides the branch's own. */
  inputsAt(latents: Tensor, timestep: number): ForwardInputs;
  /** The branches' outputs, in their order, as the one that the scheduler steps with. */
  combine(outputs: readonly Tensor[]): Tensor;
  /** Pictures of what `latents` will become. */
  preview(denoised: Tensor): Promise<Image[]>;
  /** Times to run, if not all of the scheduler's: image-to-image starts late. */
  timesteps?: readonly number[];
  generator?: Generator | undefined;
  onStep?: ((event: StepEvent) => void | Promise<void>) | undefined;
  signal?: AbortSignal | undefined;
}

export interface Denoised {
  latents: Tensor;
  /** Milliseconds of every step. */
  times: number[];
}

/** Runs a request's steps. Its sessions live no longer than this call, however it ends. */
export async function denoise(options: DenoiseOptions): Promise<Denoised> {
  const { scheduler, branches, combine, signal, generator } = options;
  const timesteps = options.timesteps ?? scheduler.timesteps;
  const branchNames = branches.map(({ name }) => name);
  const sessions = new Map<TransformerModel, ForwardSession>();
  const sessionOf = (model: TransformerModel): ForwardSession => {
    let session = sessions.get(model);
    if (!session) {
      session = model.newSession({ numInferenceSteps: timesteps.length, branches: branchNames });
      sessions.set(model, session);
    }
    return session;
  };
  let { latents } = options;
  const times: number[] = [];
  try {
    for (const [index, timestep] of timesteps.entries()) {
      throwIfAborted(signal);
      const start = performance.now();
      const model = options.modelAt(timestep);
      const session = sessionOf(model);
      const modelInput = scheduler.scaleModelInput(latents, timestep);
      const outputs: Tensor[] = [];
      for (const { name, inputs } of branches) {
        const prepared = model.prepare({ ...options.inputsAt(modelInput, timestep), ...inputs });
        const output = await session.forward(prepared, { branch: name, signal });
        outputs.push(await model.programs.backend.download(output));
        output.dispose();
      }
      const modelOutput = combine(outputs);
      const before = latents;
      const result = scheduler.step({ modelOutput, timestep, sample: latents, ...(generator ? { generator } : {}) });
      latents = result.prevSample;
      if (!Number.isFinite(latents.data[0])) {
        throw new DejaDitError(
          'RUNTIME',
          `step ${index + 1} of ${timesteps.length} produced ${latents.data[0]}; the weights or settings are unusable`,
        );
      }
      times.push(performance.now() - start);
      const reports = reportsOf(session, branchNames);
      await options.onStep?.({
        step: index + 1,
        steps: timesteps.length,
        timestep,
        action:
          Object.keys(reports).length > 0 && Object.values(reports).every(({ action }) => action === 'reuse')
            ? 'reuse'
            : 'compute',
        branches: reports,
        latents,
        time: times.at(-1)!,
        preview: () => options.preview(result.predOriginalSample ?? flowEndpoint(before, modelOutput, timestep / 1000)),
      });
    }
  } finally {
    for (const session of sessions.values()) session.end();
  }
  return { latents, times };
}

function reportsOf(session: ForwardSession, branches: readonly string[]): Record<string, StepReport> {
  const reports: Record<string, StepReport> = {};
  for (const branch of branches) {
    const report = session.report?.(branch);
    if (report) reports[branch] = report;
  }
  return reports;
}

/** Where a straight flow from noise at level `sigma` ends: sample − sigma·velocity. */
function flowEndpoint(sample: Tensor, velocity: Tensor, sigma: number): Tensor {
  const [x, v] = [sample.data as Float32Array, velocity.data as Float32Array];
  return floatTensor(
    x.map((value, i) => value - sigma * v[i]!),
    sample.shape,
  );
}

/** Classifier-free guidance: uncond + scale·(cond − uncond), rounded to float32 after every operation like PyTorch. */
export function guide(cond: Tensor, uncond: Tensor, scale: number): Tensor {
  const [c, u] = [cond.data as Float32Array, uncond.data as Float32Array];
  return floatTensor(
    c.map((value, i) => u[i]! + Math.fround(scale * Math.fround(value - u[i]!))),
    cond.shape,
  );
}
