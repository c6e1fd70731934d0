/**
 * The denoising that all pipelines share, as an object that is advanced one step at a time: for a timestep it says which calls of
 * the model it needs, and goes on from their outputs. What the model is called with is the pipeline's business, what a call costs is
 * the session's, and in which order the steps of several requests are taken is that of who holds them.
 */

import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import type { Image } from '../../images/image.ts';
import type { ForwardInputs, InputValue } from '../../models/inputs.ts';
import type { SpanRuns } from '../../models/spans/span.ts';
import type {
  ForwardSession,
  PreparedInputs,
  SessionOptions,
  StepReport,
  TransformerModel,
} from '../../models/transformer-model.ts';
import type { DeviceTensor } from '../../runtime/backend.ts';
import { disposeTensors } from '../../runtime/tensor-table.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import type { NoiseStream } from '../../tensor/generator.ts';
import { cut, join } from '../../tensor/slices.ts';
import { floatTensor, Tensor } from '../../tensor/tensor.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { isDictionary } from './conditions.ts';
import { changedLatents } from './step-changes.ts';

export interface GuidanceBranch {
  name: string;
  /** What differs between branches: prompt embeddings and the like. Tensors have a row, lists an item per sample. */
  inputs: ForwardInputs;
}

export interface DenoiseOptions {
  /** The model for a timestep; two-expert models have two. */
  modelAt(timestep: number): TransformerModel;
  /** Begins the calls of a model; `Denoising` ends them. */
  openSession(model: TransformerModel, options: SessionOptions): ForwardSession;
  scheduler: Scheduler;
  latents: Tensor;
  branches: readonly GuidanceBranch[];
  /** Whether all branches share one call, as samples of one batch. Default: each has a call of its own. */
  jointCalls?: boolean | undefined;
  /** Whether a step calls the model for the negative branches too. Default: always. */
  guidedAt?: ((timestep: number, index: number) => boolean) | undefined;
  /** Inputs of one call besides the branch's own, which it is given to read. */
  inputsAt(latents: Tensor, timestep: number, branch: ForwardInputs): ForwardInputs;
  /**
   * Further inputs of all calls of a step, which another model has to compute: a ControlNet's. Called once a step, with the latents as
   * calls get them and what the first call's branch brings.
   */
  besides?:
    | ((latents: Tensor, step: { timestep: number; index: number; branch: ForwardInputs }) => Promise<ForwardInputs>)
    | undefined;
  /** The branches' outputs, in their order, as the one that the scheduler steps with; shaped as the latents. */
  combine(outputs: readonly Tensor[], timestep: number, latents: Tensor): Tensor;
  /** What becomes of the latents that a step left, before anybody sees them. Default: they stay. */
  afterStep?: ((latents: Tensor, nextTimestep: number | undefined) => Tensor) | undefined;
  /** Pictures of what `latents` will become. */
  preview(denoised: Tensor): Promise<Image[]>;
  /** Times to run, if not all of the scheduler's: image-to-image starts late. */
  timesteps?: readonly number[] | undefined;
  generator?: NoiseStream | undefined;
  onStep?: GenerateOptions['onStep'] | undefined;
  signal?: AbortSignal | undefined;
}

/** A call that a step needs. */
export interface ModelCall {
  readonly model: TransformerModel;
  /** The request's own session of that model: what it remembers of earlier calls of this branch. */
  readonly session: ForwardSession;
  readonly branch: string;
  readonly inputs: ForwardInputs;
  /** Guidance branches that share it. */
  readonly shared: number;
  /** Of all branches that share it. */
  readonly samples: number;
  /** Calls of a guided step; of a step without guidance, branches: a backend may leave some of its ranks without work in such a step. */
  readonly branches: number;
}

/** A request's steps: its owner takes them until it is `done`, and ends it in any case. */
export class Denoising {
  /** As the last step left them. */
  latents: Tensor;
  /** Milliseconds of every step that was taken. */
  readonly times: number[] = [];
  readonly timesteps: readonly number[];
  /** By model, and by the branches that share a call: what a session remembers of calls of one size does not fit another. */
  private readonly sessions = new Map<TransformerModel, Map<number, ForwardSession>>();
  /** What a guided step calls. */
  private readonly together: readonly GuidanceBranch[];

  constructor(private readonly options: DenoiseOptions) {
    const { branches, jointCalls, latents, timesteps, scheduler } = options;
    this.latents = latents;
    this.timesteps = timesteps ?? scheduler.timesteps;
    this.together = jointCalls ? [joinBranches(branches)] : branches;
  }

  get done(): boolean {
    return this.times.length === this.timesteps.length;
  }

  /** Takes the next step. @throws DejaDitError `ABORTED` if the signal fired */
  async step(): Promise<void> {
    this.check();
    const start = performance.now();
    const calls = await this.calls();
    const outputs = await this.answerAll(calls);
    await this.advance(calls, outputs, start);
  }

  /** @throws DejaDitError `ABORTED` if the signal fired */
  check(): void {
    throwIfAborted(this.options.signal);
  }

  /** What the next step calls, in order. */
  async calls(): Promise<ModelCall[]> {
    const { scheduler, branches, modelAt, inputsAt } = this.options;
    const { timestep } = this;
    const model = modelAt(timestep);
    const guided = this.guided(this.times.length);
    const called = guided ? this.together : branches.slice(0, 1);
    const shared = this.branchesPerCall(this.times.length);
    const session = this.sessionOf(model, shared);
    const latents = join(Array<Tensor>(shared).fill(scheduler.scaleModelInput(this.latents, timestep)), 0);
    const step = { timestep, index: this.times.length, branch: called[0]!.inputs };
    const computed = await this.options.besides?.(latents, step);
    return called.map(({ name, inputs }) => ({
      model,
      session,
      branch: name,
      inputs: { ...inputsAt(latents, timestep, inputs), ...inputs, ...computed },
      shared,
      samples: latents.dim(0),
      branches: (guided ? this.together : branches).length,
    }));
  }

  /**
   * A call's outputs, one for each branch in it.
   * @param together its inputs, if they are on the device already, and who runs its spans
   */
  async answer(call: ModelCall, together?: { prepared: PreparedInputs; spans: SpanRuns }): Promise<Tensor[]> {
    return this.finish(call, await this.begin(call, together));
  }

  /** All are begun, in their order, before the first is waited for: ranks may compute them side by side. */
  private async answerAll(calls: readonly ModelCall[]): Promise<Tensor[]> {
    const begun: DeviceTensor[] = [];
    try {
      for (const call of calls) begun.push(await this.begin(call));
      const outputs: Tensor[] = [];
      for (const call of calls) outputs.push(...(await this.finish(call, begun.shift()!)));
      return outputs;
    } catch (error) {
      disposeTensors(begun);
      throw error;
    }
  }

  private begin(call: ModelCall, together?: { prepared: PreparedInputs; spans: SpanRuns }): Promise<DeviceTensor> {
    const { model, session, branch, inputs } = call;
    const { prepared = model.prepare(inputs, call), spans } = together ?? {};
    return session.forward(prepared, { branch, signal: this.options.signal, spans });
  }

  private async finish({ model, inputs, shared }: ModelCall, output: DeviceTensor): Promise<Tensor[]> {
    return samplesOf((await model.present(output, inputs)).sample, shared);
  }

  /**
   * Ends the step.
   * @param outputs of its calls, one for each branch in them
   * @param start when it began, by `performance.now`
   */
  async advance(calls: readonly ModelCall[], outputs: readonly Tensor[], start: number): Promise<void> {
    const { scheduler, combine, generator, afterStep, onStep } = this.options;
    const [timestep, index, sample] = [this.timestep, this.times.length, this.latents];
    const modelOutput = combine(outputs, timestep, sample);
    const result = scheduler.step({ modelOutput, timestep, sample, ...(generator ? { generator } : {}) });
    this.latents = afterStep?.(result.prevSample, this.timesteps[index + 1]) ?? result.prevSample;
    if (!Number.isFinite(this.latents.data[0])) {
      throw new DejaDitError(
        'RUNTIME',
        `step ${index + 1} of ${this.timesteps.length} produced ${this.latents.data[0]}; the weights or settings are unusable`,
      );
    }
    this.times.push(performance.now() - start);
    const reports = reportsOf(calls);
    const reply = await onStep?.({
      step: index + 1,
      steps: this.timesteps.length,
      timestep,
      action:
        Object.keys(reports).length > 0 && Object.values(reports).every(({ action }) => action === 'reuse')
          ? 'reuse'
          : 'compute',
      branches: reports,
      latents: this.latents,
      time: this.times.at(-1)!,
      preview: () =>
        this.options.preview(result.predOriginalSample ?? straightTo(scheduler, { sample, modelOutput, timestep })),
    });
    this.latents = changedLatents(reply, this.latents);
  }

  /** Ends the sessions, however the request ends. */
  end(): void {
    for (const ofModel of this.sessions.values()) for (const session of ofModel.values()) session.end();
    this.sessions.clear();
  }

  private get timestep(): number {
    return this.timesteps[this.times.length]!;
  }

  private guided(index: number): boolean {
    return this.options.guidedAt?.(this.timesteps[index]!, index) ?? true;
  }

  /** Branches in one call of a step. */
  private branchesPerCall(index: number): number {
    return this.options.jointCalls && this.guided(index) ? this.options.branches.length : 1;
  }

  private sessionOf(model: TransformerModel, branchesPerCall: number): ForwardSession {
    const ofModel = this.sessions.get(model) ?? new Map<number, ForwardSession>();
    this.sessions.set(model, ofModel);
    let session = ofModel.get(branchesPerCall);
    if (!session) {
      const { modelAt, openSession } = this.options;
      const numInferenceSteps = this.timesteps.filter(
        (timestep, index) => modelAt(timestep) === model && this.branchesPerCall(index) === branchesPerCall,
      ).length;
      session = openSession(model, { numInferenceSteps, branches: this.together.map(({ name }) => name) });
      ofModel.set(branchesPerCall, session);
    }
    return session;
  }
}

function reportsOf(calls: readonly ModelCall[]): Record<string, StepReport> {
  const reports = calls.flatMap(({ session, branch }) => {
    const report = session.report?.(branch);
    return report ? [[branch, report] as const] : [];
  });
  return Object.fromEntries(reports);
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
  return { ...first, inputs: joinInputs([first, ...others].map(({ inputs }) => inputs)) };
}

function joinInputs(rows: readonly ForwardInputs[]): Record<string, InputValue> {
  const joined = (name: string): InputValue => {
    const values = rows.map((inputs) => inputs[name]);
    if (values.every((value) => value instanceof Tensor)) return joinRows(values, name);
    return values.every(isDictionary) ? joinInputs(values) : (values.flat() as InputValue);
  };
  return Object.fromEntries(Object.keys(rows[0]!).map((name) => [name, joined(name)]));
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

/** A call's result as one tensor per branch in it, or for whatever else shares it in equal parts. */
export function samplesOf(sample: Tensor | readonly Tensor[], branches: number): Tensor[] {
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
