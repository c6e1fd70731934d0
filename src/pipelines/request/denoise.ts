/**
 * The denoising loop that all pipelines share: for every timestep call the model for each guidance branch, combine, and let the
 * scheduler step. What the model is called with is the pipeline's business, what a call costs is the session's.
 */
import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import type { Image } from '../../images/image.ts';
import type { ForwardInputs, InputValue } from '../../models/inputs.ts';
import type { ForwardSession, SessionOptions, StepReport, TransformerModel } from '../../models/transformer-model.ts';
import { takeDown } from '../../runtime/host-tensors.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import type { NoiseStream } from '../../tensor/generator.ts';
import { cut, join } from '../../tensor/slices.ts';
import { floatTensor, Tensor } from '../../tensor/tensor.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { changedLatents } from './step-changes.ts';

export interface GuidanceBranch {
  name: string;
  /** What differs between branches: prompt embeddings and the like. Tensors have a row, lists an item per sample. */
  inputs: ForwardInputs;
}

export interface DenoiseOptions {
  /** The model for a timestep; two-expert models have two. */
  modelAt(timestep: number): TransformerModel;
  /** Begins the calls of a model; `denoise` ends them. */
  openSession(model: TransformerModel, options: SessionOptions): ForwardSession;
  scheduler: Scheduler;
  latents: Tensor;
  branches: readonly GuidanceBranch[];
  /** Whether all branches share one call, as samples of one batch. Default: each has a call of its own. */
  jointCalls?: boolean | undefined;
  /** Inputs of one call besides the branch's own, which it is given to read. */
  inputsAt(latents: Tensor, timestep: number, branch: ForwardInputs): ForwardInputs;
  /** The branches' outputs, in their order, as the one that the scheduler steps with; shaped as the latents. */
  combine(outputs: readonly Tensor[], timestep: number): Tensor;
  /** Pictures of what `latents` will become. */
  preview(denoised: Tensor): Promise<Image[]>;
  /** Times to run, if not all of the scheduler's: image-to-image starts late. */
  timesteps?: readonly number[];
  generator?: NoiseStream | undefined;
  onStep?: GenerateOptions['onStep'] | undefined;
  signal?: AbortSignal | undefined;
}

export interface Denoised {
  latents: Tensor;
  /** Milliseconds of every step. */
  times: number[];
}

/** Runs a request's steps. Its sessions live no longer than this call, however it ends. */
export async function denoise(options: DenoiseOptions): Promise<Denoised> {
  const { scheduler, combine, signal, generator } = options;
  const timesteps = options.timesteps ?? scheduler.timesteps;
  const calls = options.jointCalls ? [joinBranches(options.branches)] : options.branches;
  const samplesPerCall = options.jointCalls ? options.branches.length : 1;
  const callNames = calls.map(({ name }) => name);
  const sessions = new Map<TransformerModel, ForwardSession>();
  const sessionOf = (model: TransformerModel): ForwardSession => {
    let session = sessions.get(model);
    if (!session) {
      const numInferenceSteps = timesteps.filter((timestep) => options.modelAt(timestep) === model).length;
      session = options.openSession(model, { numInferenceSteps, branches: callNames });
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
      const sample = scheduler.scaleModelInput(latents, timestep);
      const modelInput = join(Array<Tensor>(samplesPerCall).fill(sample), 0);
      const outputs: Tensor[] = [];
      for (const { name, inputs } of calls) {
        const all = { ...options.inputsAt(modelInput, timestep, inputs), ...inputs };
        const output = await session.forward(model.prepare(all), { branch: name, signal });
        const { sample } = await takeDown(model.programs.backend, { sample: output });
        outputs.push(...samplesOf(model.definition.present(sample!, all), samplesPerCall));
      }
      const modelOutput = combine(outputs, timestep);
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
      const reports = reportsOf(session, callNames);
      const reply = await options.onStep?.({
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
        preview: () =>
          options.preview(
            result.predOriginalSample ?? straightTo(scheduler, { sample: before, modelOutput, timestep }),
          ),
      });
      latents = changedLatents(reply, latents);
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

/** The clean sample a step points to, for schedulers that do not say: along a straight flow, sample − sigma·velocity. */
function straightTo(
  { className }: Scheduler,
  { sample, modelOutput, timestep }: { sample: Tensor; modelOutput: Tensor; timestep: number },
): Tensor {
  if (!className.startsWith('FlowMatch')) return sample;
  const [x, v] = [sample.f32, modelOutput.f32];
  return floatTensor(
    x.map((value, i) => value - (timestep / 1000) * v[i]!),
    sample.shape,
  );
}

/** All branches as one call. */
function joinBranches(branches: readonly GuidanceBranch[]): GuidanceBranch {
  const [first, ...others] = branches as [GuidanceBranch, ...GuidanceBranch[]];
  const joined = (name: string): InputValue => {
    const values = [first, ...others].map(({ inputs }) => inputs[name]);
    if (values.every((value) => value instanceof Tensor)) return joinRows(values, name);
    return values.flat() as InputValue;
  };
  return { ...first, inputs: Object.fromEntries(Object.keys(first.inputs).map((name) => [name, joined(name)])) };
}

function joinRows(tensors: readonly Tensor[], name: string): Tensor {
  const rowShapes = tensors.map(({ shape }) => String(shape.slice(1)));
  if (rowShapes.every((shape) => shape === rowShapes[0])) return join(tensors, 0);
  throw new DejaDitError(
    'SHAPE_MISMATCH',
    `guidance calls the model once for both prompts, so their embeddings need one shape; got [${rowShapes.join('] and [')}]`,
    { path: name },
  );
}

/** A call's result as one tensor per branch in it. */
function samplesOf(sample: Tensor | readonly Tensor[], branches: number): Tensor[] {
  const whole =
    sample instanceof Tensor
      ? sample
      : join(
          sample.map((item) => item.reshape([1, ...item.shape])),
          0,
        );
  if (branches === 1) return [whole];
  const rows = whole.dim(0) / branches;
  return Array.from({ length: branches }, (_, i) => cut(whole, { axis: 0, from: i * rows, to: (i + 1) * rows }));
}
