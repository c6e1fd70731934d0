/**
 * A loaded transformer: definition, weights and programs, shared by all requests. What changes from step to step belongs to a
 * `ForwardSession`, one per request, which comes from a cache or computes everything. The model only knows which cache requests
 * get that name none.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { WarningLog } from '../errors/warnings.ts';
import type { BranchCall, DeviceTensor } from '../runtime/backend.ts';
import { takeDown } from '../runtime/host-tensors.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { LoraSelection } from '../weights/lora/lora-weights.ts';
import type { Weights } from '../weights/weight-store.ts';
import { type ComputeDtype, graphsIn, modulesIn } from './compute-dtype.ts';
import type { ModelOutput, Prepared, Statics, Transformer, TransformerTraits } from './definition.ts';
import { checkInputs, type ForwardInputs, uploadInputs } from './inputs.ts';
import { LoadedModel } from './loaded-model.ts';
import { refuseOverflow } from './overflow.ts';
import { epilogue, type Piece, prologue, wholeList } from './pieces.ts';
import type { DeviceState, SpanRun, SpanRuns } from './spans/span.ts';

/** Which call of a request this is. */
export interface CallContext {
  /** Guidance branch; sessions keep one cache per branch. Default `cond`. */
  branch?: string;
  signal?: AbortSignal | undefined;
  /** Who runs the call's spans. Default: the model's runner, each as it comes. */
  spans?: SpanRuns | undefined;
}

/** What a step did, for progress displays. */
export interface StepReport {
  action: 'compute' | 'reuse';
  reason: string;
  /** Relative movement of the probe since the last computed step, where it was measured. */
  diff: number | null;
  /** What the step was to stay below to be re-used: `visibleError` where there is one, else `diff`. Null where nothing was compared. */
  threshold: number | null;
  /** With an error budget: the visible errors since the last computed step, weighted, this one's included. */
  visibleError?: number;
}

/** Runs the successive forward calls of one request. */
export interface ForwardSession {
  /** Takes the inputs over, whether it succeeds or not; the result is the caller's. */
  forward(inputs: PreparedInputs, context: CallContext): Promise<DeviceTensor>;
  /** Whether a call's answer depends on its inputs alone, so that calls may be made at once, in any order. */
  readonly stateless?: boolean;
  /** How the last call of a branch was answered; undefined where every call is computed. */
  report?(branch: string): StepReport | undefined;
  /** Ends the request. Nothing of it survives, whether it finished or not. */
  end(): void;
}

/** Makes the sessions of a model's requests: all that a model knows of caches. */
export interface SessionFactory {
  newSession(options: SessionOptions): ForwardSession;
}

export interface SessionOptions {
  /** Denoising steps of the request, where known. */
  numInferenceSteps?: number | undefined;
  /** Guidance branches in the order they are called; default a single one. */
  branches?: readonly string[] | undefined;
  /** LoRAs of the request. Default: those that are loaded, at the strengths they were loaded with. */
  loras?: LoraSelection | undefined;
  /** Keeps the warnings of the request. */
  warnings?: WarningLog | undefined;
}

/** Inputs on the device, ready for the prologue; whoever has them disposes them. */
export interface PreparedInputs extends Pick<SpanRun, 'rows'> {
  state: DeviceState;
  statics: Statics;
}

/**
 * A loaded transformer: what `AutoModel.fromPretrained` returns, and pipelines have as `transformers`.
 * @example
 * const { transformer } = pipe.transformers;
 * if (transformer instanceof TransformerModel) console.log(transformer.className, transformer.config);
 */
export class TransformerModel extends LoadedModel {
  readonly kind = 'transformer';
  private cache: SessionFactory | undefined;
  /** The session that bare `forward` calls belong to. */
  private implicitSession: ForwardSession | undefined;

  constructor(
    readonly definition: Transformer,
    weights: Weights,
    programs: ProgramCache,
    readonly computeDtype: ComputeDtype = 'float32',
  ) {
    const { className: owner, float32Modules } = definition;
    super(weights, programs, { owner, rewrite: graphsIn(computeDtype, modulesIn(float32Modules)) });
  }

  /** @throws DejaDitError for a family that says nothing of itself, which no pipeline can run */
  get traits(): TransformerTraits {
    const { traits, className } = this.definition;
    if (traits) return traits;
    throw new DejaDitError('UNSUPPORTED', "has no 'traits' in its definition, which pipelines need", {
      path: className,
    });
  }

  /** The cache of bare calls, and of requests that name none; undefined: everything is computed. */
  get defaultCache(): SessionFactory | undefined {
    return this.cache;
  }

  /** Sets `defaultCache` for requests that begin from now on, and ends the one that bare calls form. */
  setDefaultCache(cache: SessionFactory | undefined): void {
    this.endImplicitSession();
    this.cache = cache;
  }

  /**
   * One forward pass under Diffusers' keyword names. With a cache enabled, successive calls form one request until
   * `refreshContext` or its `numInferenceSteps` ends it, or a call fails on the way.
   * @throws DejaDitError naming the input, weight or module that does not fit
   */
  async forward(inputs: ForwardInputs, context: CallContext = {}): Promise<ModelOutput> {
    const leave = this.occupancy.enter();
    let session: ForwardSession | undefined;
    try {
      const prepared = this.prepare(inputs);
      this.implicitSession ??= this.newSession();
      session = this.implicitSession;
      const output = await session.forward(prepared, context);
      return await this.present(output, inputs);
    } catch (error) {
      // A step that was begun but not finished leaves a state that no later call can go on from.
      if (session && session === this.implicitSession) this.endImplicitSession();
      throw error;
    } finally {
      leave();
    }
  }

  /**
   * What a call returns, from what its session returned, which it takes over.
   * @throws DejaDitError RUNTIME naming the block where a model in float16 left its range
   */
  async present(output: DeviceTensor, inputs: ForwardInputs): Promise<ModelOutput> {
    const { sample } = await takeDown(this.programs.backend, { sample: output });
    await refuseOverflow(this, sample!, inputs);
    return this.definition.present(sample!, inputs);
  }

  /** The hidden states [B, tokens, width] of a call as its first block gets them. */
  async embed(inputs: ForwardInputs, signal?: AbortSignal): Promise<Tensor> {
    const handOut: Piece = {
      key: 'embedded',
      emit: (context) => {
        context.output('embedded', context.state.hidden_states!);
        context.state = {};
      },
    };
    const pieces = [prologue(this.definition), handOut];
    const { outputs } = await this.runner.run({ pieces, ...this.prepare(inputs), signal });
    return (await takeDown(this.programs.backend, outputs)).embedded!;
  }

  /**
   * Checks a call's inputs, computes what the host computes, and uploads.
   * @param guidance which of a step's calls it is. Default: the only one
   */
  prepare(inputs: ForwardInputs, guidance?: BranchCall): PreparedInputs {
    return this.upload(this.hostInputs(inputs), { guidance });
  }

  /** Checks a call's inputs, and computes what the host computes. */
  hostInputs(inputs: ForwardInputs): Prepared {
    return this.definition.prepare(checkInputs(this.definition.inputs, inputs), inputs);
  }

  /** @param options `rows` as for `SpanRun`, `guidance` as for `prepare` */
  upload(
    { tensors, statics = {} }: Prepared,
    { rows, guidance }: { rows?: SpanRun['rows']; guidance?: BranchCall | undefined } = {},
  ): PreparedInputs {
    if (this.disposed) throw new DejaDitError('DISPOSED', `this ${this.className} was disposed`);
    const { backend } = this.programs;
    const target = (guidance && backend.forBranch?.(guidance)) ?? backend;
    return { state: uploadInputs(target, tensors), statics, rows };
  }

  /**
   * Begins a request; the caller ends it.
   * @param options `cache` is the one to run under: false for none, by default `defaultCache`
   */
  newSession({
    cache = this.cache,
    ...options
  }: SessionOptions & { cache?: SessionFactory | false | undefined } = {}): ForwardSession {
    return cache ? cache.newSession(options) : new PlainSession(this, options.loras);
  }

  /** Ends the request that bare `forward` calls form, and drops its state. */
  endImplicitSession(): void {
    this.implicitSession?.end();
    this.implicitSession = undefined;
  }

  protected override forget(): void {
    this.endImplicitSession();
  }
}

/** Computes every call in full, as a single span. */
class PlainSession implements ForwardSession {
  readonly stateless = true;

  constructor(
    private readonly model: TransformerModel,
    private readonly loras: LoraSelection | undefined,
  ) {}

  async forward(inputs: PreparedInputs, { signal, spans = this.model.runner }: CallContext): Promise<DeviceTensor> {
    const { loras } = this;
    const { definition } = this.model;
    const lists = definition.blockLists.flatMap((_, list) => wholeList(definition, list));
    const pieces = [prologue(definition), ...lists, epilogue(definition)];
    const { outputs } = await spans.run({ pieces, ...inputs, loras, signal });
    return outputs.sample!;
  }

  end(): void {}
}
