/**
 * Models without block lists to cache: text encoders and autoencoders. A definition names its functions (`forward`, `encode`,
 * `decode`); each is one program per input shape.
 */
import { DejaDitError, throwIfAborted } from '../errors/errors.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import type { Module } from '../nn/module.ts';
import { takeDown } from '../runtime/host-tensors.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { NameTable } from '../weights/names/name-table.ts';
import type { Weights } from '../weights/weight-store.ts';
import type { ConfigReader } from './config-reader.ts';
import type { IgnoredWeights, Prepared, State, Statics } from './definition.ts';
import { checkInputs, type ForwardInputs, type InputSpec, uploadInputs } from './inputs.ts';
import { LoadedModel } from './loaded-model.ts';
import type { MakeOnes, SmallestCall } from './smallest-inputs.ts';

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
export class GraphModel extends LoadedModel {
  readonly kind = 'graph';
  constructor(
    readonly definition: BoundModel,
    weights: Weights,
    programs: ProgramCache,
  ) {
    super(weights, programs, { owner: definition.className });
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
}
