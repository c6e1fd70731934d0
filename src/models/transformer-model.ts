/**
 * A loaded transformer: definition, weights and programs. It is immutable and shared by all requests; what changes from step
 * to step belongs to a `ForwardSession`, one per request. Caching replaces the sessions, never the model.
 */
import { DejaDitError, throwIfAborted } from '../errors/errors.ts';
import type { DeviceTensor } from '../runtime/backend.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { OffloadSummary } from '../weights/offload/weight-buckets.ts';
import type { Weights } from '../weights/weight-store.ts';
import type { Statics, Transformer } from './definition.ts';
import { checkInputs, type ForwardInputs } from './inputs.ts';
import { type DeviceState, epilogue, prologue, SpanRunner, wholeList } from './span.ts';

export interface ModelOutput {
  /** Diffusers' `Transformer2DModelOutput.sample`: a tensor, or a list where Diffusers returns one. */
  sample: Tensor | Tensor[];
}

/** Which call of a request this is. */
export interface CallContext {
  /** Guidance branch; sessions keep one cache per branch. Default `cond`. */
  branch?: string;
  signal?: AbortSignal | undefined;
}

/** What a step did, for progress displays. */
export interface StepReport {
  action: 'compute' | 'reuse';
  reason: string;
  /** Relative movement of the probe since the last computed step, where it was measured. */
  diff: number | null;
}

/** Runs the successive forward calls of one request. */
export interface ForwardSession {
  forward(inputs: PreparedInputs, context: CallContext): Promise<DeviceTensor>;
  /** How the last call of a branch was answered; undefined where every call is computed. */
  report?(branch: string): StepReport | undefined;
  /** Ends the request. Nothing of it survives, whether it finished or not. */
  end(): void;
}

export interface SessionOptions {
  /** Denoising steps of the request, where known. */
  numInferenceSteps?: number | undefined;
  /** Guidance branches in the order they are called; default a single one. */
  branches?: readonly string[];
}

/** Inputs on the device, ready for the prologue. */
export interface PreparedInputs {
  state: DeviceState;
  statics: Statics;
}

export class TransformerModel {
  readonly kind = 'transformer';
  readonly runner: SpanRunner;
  /** Set by `enableCache`; without it every call is computed in full. */
  sessionFactory: ((model: TransformerModel, options: SessionOptions) => ForwardSession) | undefined;
  /** The session that bare `forward` calls belong to: set by a cache in transformer-only mode. */
  private implicitSession: ForwardSession | undefined;
  private disposed = false;

  constructor(
    readonly definition: Transformer,
    readonly weights: Weights,
    readonly programs: ProgramCache,
  ) {
    this.runner = new SpanRunner(weights, programs);
  }

  get className(): string {
    return this.definition.className;
  }

  get config(): Readonly<Record<string, unknown>> {
    return this.definition.config;
  }

  /** What `layerwiseOffload` does and has done so far; undefined for a model that was loaded whole. */
  get offloadSummary(): OffloadSummary | undefined {
    return this.weights.offloaded?.summary();
  }

  /**
   * One forward pass under Diffusers' keyword names. With a cache enabled, successive calls form one request until
   * `refreshContext` or its `numInferenceSteps` ends it, or a call fails on the way.
   * @throws DejaDitError naming the input, weight or module that does not fit
   */
  async forward(inputs: ForwardInputs, context: CallContext = {}): Promise<ModelOutput> {
    const prepared = this.prepare(inputs);
    this.implicitSession ??= this.newSession();
    const session = this.implicitSession;
    try {
      const sample = await session.forward(prepared, context);
      return { sample: this.definition.present(await this.programs.backend.download(sample), inputs) };
    } catch (error) {
      // A step that was begun but not finished leaves a state that no later call can go on from.
      if (session === this.implicitSession) this.endImplicitSession();
      throw error;
    }
  }

  /** Checks a call's inputs, computes what the host computes, and uploads. */
  prepare(inputs: ForwardInputs): PreparedInputs {
    if (this.disposed) throw new DejaDitError('DISPOSED', `this ${this.className} was disposed`);
    const { tensors, statics = {} } = this.definition.prepare(checkInputs(this.definition.inputs, inputs), inputs);
    const { backend } = this.programs;
    return {
      state: Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, backend.upload(tensor)])),
      statics,
    };
  }

  newSession(options: SessionOptions = {}): ForwardSession {
    return this.sessionFactory?.(this, options) ?? new PlainSession(this);
  }

  /** Ends the request that bare `forward` calls form, and drops its state. */
  endImplicitSession(): void {
    this.implicitSession?.end();
    this.implicitSession = undefined;
  }

  /** Frees the weights. Programs stay in the shared cache. */
  async dispose(): Promise<void> {
    this.endImplicitSession();
    this.disposed = true;
    this.runner.reset();
    await this.weights.dispose();
  }
}

/** Computes every call in full, as a single span. */
class PlainSession implements ForwardSession {
  constructor(private readonly model: TransformerModel) {}

  async forward({ state, statics }: PreparedInputs, { signal }: CallContext): Promise<DeviceTensor> {
    throwIfAborted(signal);
    const { definition, runner } = this.model;
    const lists = definition.blockLists.flatMap((_, list) => wholeList(definition, list));
    const { outputs } = await runner.run({
      pieces: [prologue(definition), ...lists, epilogue(definition)],
      state,
      statics,
      signal,
    });
    return outputs.sample!;
  }

  end(): void {}
}
