/**
 * Models without block lists to cache: text encoders and autoencoders. A definition names its functions (`forward`, `encode`,
 * `decode`); each is one program per input shape.
 */
import { DejaDitError, throwIfAborted } from '../errors/errors.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import type { Module } from '../nn/module.ts';
import type { Backend } from '../runtime/backend.ts';
import { takeDown } from '../runtime/host-tensors.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { NameTable } from '../weights/names/name-table.ts';
import type { OffloadSummary } from '../weights/offload/weight-buckets.ts';
import type { Weights } from '../weights/weight-store.ts';
import type { ConfigReader } from './config-reader.ts';
import type { IgnoredWeights, Prepared, State, Statics } from './definition.ts';
import { checkInputs, type ForwardInputs, type InputSpec, uploadInputs } from './inputs.ts';
import { Occupancy } from './occupancy.ts';
import { Residence } from './residence.ts';
import type { MakeOnes, SmallestCall } from './smallest-inputs.ts';
import { SpanRunner } from './spans/span.ts';

export interface FunctionDefinition<Config> {
  inputs(config: Config): readonly InputSpec[];
  /** Host work before a call. Default: the tensors as they are. */
  prepare?(tensors: Record<string, Tensor>, config: Config, inputs: ForwardInputs): Prepared;
  /** Emits the function and returns its named outputs. */
  build(m: Module, inputs: State, config: Config, statics: Statics): Record<string, SymbolicTensor>;
  /** As of a transformer's definition. Default: one call with every size 1. */
  smallestCalls?(config: Config, ones: MakeOnes): readonly SmallestCall[];
}

export interface GraphModelDefinition<Config> {
  /** Class name in Diffusers or Transformers. */
  readonly className: string;
  parseConfig(config: ConfigReader): Config;
  readonly functions: Readonly<Record<string, FunctionDefinition<Config>>>;
  /** Default: none. */
  readonly ignoredWeights?: readonly IgnoredWeights[] | ((config: Config) => readonly IgnoredWeights[]);
  /** Whether its weights are held in float16 where `computeDtype` says so. It computes in float32 all the same. Default false. */
  readonly holdsFloat16?: boolean;
  /** What the tensors are called where the model was first released. Default: as in Diffusers or Transformers. */
  readonly originalNames?: (config: Config) => NameTable;
  /** Of a net that works beside a transformer: values that run along tokens, as `build` names them (`nameTokens`), and on which axis. */
  readonly tokens?: Readonly<Record<string, number>>;
}

interface BoundFunction {
  inputs: readonly InputSpec[];
  prepare(tensors: Record<string, Tensor>, inputs: ForwardInputs): Prepared;
  build(m: Module, inputs: State, statics: Statics): Record<string, SymbolicTensor>;
  smallestCalls(ones: MakeOnes): readonly SmallestCall[];
}

/** A definition bound to one checkpoint's config. */
export interface BoundModel {
  readonly className: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly functions: Readonly<Record<string, BoundFunction>>;
  readonly ignoredWeights: readonly IgnoredWeights[];
  readonly holdsFloat16: boolean;
  readonly originalNames: NameTable;
  readonly tokens: Readonly<Record<string, number>> | undefined;
}

/** A family as the registry holds it. */
export interface GraphModelFamily {
  readonly className: string;
  configure(config: ConfigReader): BoundModel;
}

/**
 * Closes a typed definition over a config, as `defineTransformer` does.
 * @example
 * const family = defineModel<SomeConfig>({
 *   className: 'SomeProjection',
 *   parseConfig: (config) => ({ width: config.integer('hidden_size', 1152), blocks: 1 }),
 *   functions: {
 *     forward: {
 *       inputs: ({ width }) => [{ name: 'x', kind: 'float', shape: ['batch', width] }],
 *       build: (m, inputs, { width }) => ({ y: linear(m.at('proj'), inputs.x!, width) }),
 *     },
 *   },
 * });
 */
export function defineModel<Config>(definition: GraphModelDefinition<Config>): GraphModelFamily {
  return {
    className: definition.className,
    configure(reader) {
      const config = definition.parseConfig(reader);
      reader.rejectUnsupported();
      const bind = (fn: FunctionDefinition<Config>): BoundFunction => ({
        inputs: fn.inputs(config),
        prepare: (tensors, inputs) => fn.prepare?.(tensors, config, inputs) ?? { tensors },
        build: (m, inputs, statics) => fn.build(m, inputs, config, statics),
        smallestCalls: (ones) => fn.smallestCalls?.(config, ones) ?? [{}],
      });
      const { ignoredWeights: ignored = [] } = definition;
      const functions = Object.fromEntries(Object.entries(definition.functions).map(([name, fn]) => [name, bind(fn)]));
      return {
        className: definition.className,
        config: reader.json,
        functions,
        ignoredWeights: typeof ignored === 'function' ? ignored(config) : ignored,
        holdsFloat16: definition.holdsFloat16 ?? false,
        originalNames: definition.originalNames?.(config) ?? {},
        tokens: definition.tokens,
      };
    },
  };
}

/**
 * A loaded text encoder or autoencoder: named functions over its weights.
 * @example
 * await using encoder = await loadModel('path/to/text_encoder');
 * if (encoder instanceof GraphModel) console.log(encoder.className, encoder.config);
 */
export class GraphModel {
  readonly kind = 'graph';
  private readonly residence: Residence;
  /** The requests that use it, in which its weights must not change. */
  readonly occupancy: Occupancy;
  private disposed = false;
  private backend: Backend | undefined;

  constructor(
    readonly definition: BoundModel,
    readonly weights: Weights,
    programs: ProgramCache,
  ) {
    const { className: owner } = definition;
    this.occupancy = new Occupancy(owner);
    this.residence = new Residence(programs, {
      occupancy: this.occupancy,
      newRunner: (own) => new SpanRunner(weights, own, { owner }),
    });
  }

  /** Makes the backend one that is disposed with the model. */
  own(backend: Backend): void {
    this.backend = backend;
  }

  get runner(): SpanRunner {
    return this.residence.runner;
  }

  /** What it computes with. */
  get programs(): ProgramCache {
    return this.residence.programs;
  }

  /** What it was loaded with, wherever it computes now: its weights are there. */
  get home(): ProgramCache {
    return this.residence.home;
  }

  /**
   * Computes with other programs from now on, whose backend takes the tensors of the one that the weights are on.
   * @param programs disposed with the model, its backend too; undefined: those that it was loaded with
   * @throws DejaDitError BUSY while a request is under way
   */
  moveTo(programs?: ProgramCache): void {
    this.residence.moveTo(programs);
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

  /** Calls `forward` under the keyword names of Diffusers or Transformers. */
  forward(inputs: ForwardInputs): Promise<Record<string, Tensor>> {
    return this.call('forward', inputs);
  }

  /** Calls a function of the model; every output is downloaded. */
  async call(name: string, inputs: ForwardInputs, signal?: AbortSignal): Promise<Record<string, Tensor>> {
    throwIfAborted(signal);
    const { className, functions } = this.definition;
    const fn = functions[name];
    if (this.disposed) throw new DejaDitError('DISPOSED', `this ${className} was disposed`);
    if (!fn)
      throw new DejaDitError('UNSUPPORTED', `has no '${name}', only ${Object.keys(functions).join(', ')}`, {
        path: className,
      });
    const { backend } = this.programs;
    const leave = this.occupancy.enter();
    try {
      const { tensors, statics = {} } = fn.prepare(checkInputs(fn.inputs, inputs), inputs);
      const { outputs } = await this.runner.run({
        pieces: [
          {
            key: name,
            emit: (context) => {
              const results = fn.build(context.root, context.state, context.statics);
              for (const [key, tensor] of Object.entries(results)) context.output(key, tensor);
              context.state = {};
            },
          },
        ],
        state: uploadInputs(backend, tensors),
        statics,
        signal,
      });
      return await takeDown(backend, outputs);
    } finally {
      leave();
    }
  }

  /** Frees the weights, the programs that no other model uses, and the backend if it was made for this model. Calls under way end as DISPOSED after their current run. */
  async dispose(): Promise<void> {
    this.disposed = true;
    await this.residence.leave();
    await this.weights.dispose();
    await this.home.trim();
    await this.backend?.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}
