/**
 * What a model family has to say about itself. A family is one object in `transformers/<family>/`; everything else (running,
 * caching, quantising, saving) works on these objects and knows no family by name.
 */
import type { SymbolicTensor } from '../graph/symbolic.ts';
import type { Module } from '../nn/module.ts';
import { Tensor } from '../tensor/tensor.ts';
import type { NameTable } from '../weights/names/name-table.ts';
import type { AudioVideo } from './audio-video.ts';
import type { ConfigReader } from './config-reader.ts';
import type { ForwardInputs, InputSpec } from './inputs.ts';
import type { MakeOnes, SmallestCall } from './smallest-inputs.ts';

/** The tensors that travel from block to block, by name. `hidden_states` is always among them. */
export type State = Record<string, SymbolicTensor>;

/** Values that shape a graph (a token grid, a flag) but are no tensors. */
export type Statics = Readonly<Record<string, number | string | boolean | readonly number[]>>;

/**
 * cache-dit's numbering of what a block takes and returns; H = hidden states, E = encoder hidden states.
 * 0: HE→HE, 1: HE→EH, 2: HE→H, 3: H→H, 4: H→HE, 5: H→EH. Here blocks return a state, so 0 and 1 differ by name only.
 */
export type ForwardPattern = 0 | 1 | 2 | 3 | 4 | 5;

export interface Prepared {
  /** Graph inputs: the checked tensors and whatever the host computed from them (rotary tables, masks). */
  tensors: Record<string, Tensor>;
  statics?: Statics;
}

/** Names the state entries that pass long skips from block to block. */
export const SKIP = 'skip_';

/** A run of equal blocks, the unit of caching. */
export interface BlockList<S extends State = State> {
  /** Attribute name in Diffusers, which is also the weights' prefix: `transformer_blocks`. */
  readonly name: string;
  readonly pattern: ForwardPattern;
  readonly count: number;
  /**
   * Block i of N also reads what block N − 1 − i returned, for i beyond the middle (a "U"), which that one left in the state as `skip_<its index>`
   * (`SKIP`). Default: none does.
   */
  readonly longSkips?: boolean;
  /** Emits block `index`; `m` is the module `name.index`. Returns the entries of the state that change. */
  block(m: Module, state: S, context: BlockContext): Partial<S>;
  /** Emitted once before the first block, e.g. to join two streams. */
  enter?(m: Module, state: S, statics: Statics): Partial<S>;
  /** Emitted once after the last block. */
  leave?(m: Module, state: S, statics: Statics): Partial<S>;
}

export interface BlockContext {
  readonly index: number;
  readonly statics: Statics;
}

/** Tensors that checkpoints of a class may hold though nothing here reads them; neither an error nor a warning. */
export interface IgnoredWeights {
  readonly names: RegExp;
  /** What they are, and why a model does without. */
  readonly reason: string;
}

/** What pipelines have to know of a transformer: facts of its config, read once, with one set of defaults. */
export interface TransformerTraits {
  /** Of the stream of hidden states. */
  readonly width: number;
  /** Channels of what it takes and returns, as it takes and returns them. */
  readonly inChannels: number;
  readonly outChannels: number;
  /** Latents that it makes one token of, as (frames, rows, columns). */
  readonly patch: readonly [number, number, number];
  /** Edge of the latents that it was trained at, where configs say so. */
  readonly sampleSize?: number;
  /** Of the largest picture that it was made for, where it says so. */
  readonly maxTokens?: number;
  /** Frames of pictures, and rows and columns of latents, of the videos that it was trained at, where configs say so. */
  readonly sampleVideo?: { readonly frames: number; readonly height: number; readonly width: number };
  /** Of a head whose rotary tables callers compute. Default: the model does. */
  readonly rotaryWidth?: number;
  /** Whether it is told `ofs`, which CogVideoX 1.5 has for pictures to video. */
  readonly takesOffset?: boolean;
  /** Of the text embeddings that it takes. */
  readonly textWidth?: number;
  /** How many layers of the text encoder it takes them from. Default: from one. */
  readonly textLayers?: number;
  /** Whether it takes the scale it was distilled with as an input. Default: not. */
  readonly guidanceEmbedding?: boolean;
  /** What times, and the scale of distilled guidance, are multiplied with before it gets them. Default 1. */
  readonly timestepScale?: number;
  readonly guidanceScale?: number;
  /** Whether it is told the time that a step ends at. Default: not. */
  readonly targetTime?: boolean;
  /** Features of the guidance that a latent consistency model is told. Default: it is told nothing. */
  readonly guidanceFeatures?: number;
  /** Classes that it knows; the one behind them stands for none in particular. */
  readonly classes?: number;
  /** Whether it takes what an image encoder sees. Default: not. */
  readonly takesImages?: boolean;
  /** Width of an image encoder's states, for those that take them always, zeros where there is no image. */
  readonly imageWidth?: number;
  /** Edge in pixels of the square whose area it was trained at, where configs say so. */
  readonly targetSize?: number;
  /** Width of the embeddings that it takes of words to be written into the picture. Default: it takes none. */
  readonly glyphWidth?: number;
  /** Whether it is told the time at which a step ends. Default: not. */
  readonly takesEndTime?: boolean;
  /** Whether it is told the size of the picture. */
  readonly sizeConditions?: boolean;
}

export interface TransformerDefinition<Config, S extends State = State> {
  /** Diffusers' class name. */
  readonly className: string;
  parseConfig(config: ConfigReader): Config;
  /** Families that pipelines run have them. */
  traits?(config: Config): TransformerTraits;
  inputs(config: Config): readonly InputSpec[];
  /** Host work before a call: position tables, masks, checks across inputs. Default: the tensors as they are. */
  prepare?(tensors: Record<string, Tensor>, config: Config, inputs: ForwardInputs): Prepared;
  /** Embeddings and everything the blocks share. `m` is the model's root. */
  prologue(m: Module, inputs: State, config: Config, statics: Statics): S;
  blockLists(config: Config): readonly BlockList<S>[];
  /** Output norm and projection. */
  epilogue(m: Module, state: S, config: Config, statics: Statics): SymbolicTensor;
  /**
   * Calls that together need every weight, as small as can be: what a checkpoint must hold is found with them. Default: one call
   * with every size 1.
   */
  smallestCalls?(config: Config, ones: MakeOnes): readonly SmallestCall[];
  /** Default: none. */
  readonly ignoredWeights?: readonly IgnoredWeights[];
  /**
   * Modules that stay float32 where the rest is computed in float16, as patterns (`modulesIn`): the path of the time, whose features are
   * large, and whatever adds up or divides more than float16 holds. Default: none.
   */
  readonly float32Modules?: readonly string[];
  /** What the tensors are called where the model was first released. Default: as in Diffusers. */
  readonly originalNames?: NameTable;
  /** How the graph's output becomes the call's result, where that is more than one tensor. */
  present?(sample: Tensor, inputs: ForwardInputs, config: Config): Tensor | Tensor[] | AudioVideo;
  /**
   * Entries of the state after the prologue that run along tokens, and on which axis: what context parallelism deals out to ranks. Not
   * those that every token reads all of, such as the text of cross-attention. Or why there are none, as what follows the class name in a sentence.
   * Without, context parallelism is refused.
   */
  readonly tokens?: Readonly<Record<string, number>> | string;
  /** Whether tokens meet only in sums over all of them (linear attention), so that ranks exchange sums and no tokens. Default: not. */
  readonly linearAttention?: boolean;
  /**
   * Block lists that cache-dit treats as one, each group with one decision per step. Default: every list on its own.
   */
  readonly cacheGroups?: readonly (readonly string[])[];
  /** Whether the family's pipelines call the model once per guidance branch. */
  readonly separateCfg: boolean;
}

/** A definition bound to one checkpoint's config: what the rest of the engine works with. */
export interface Transformer {
  readonly className: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly traits: TransformerTraits | undefined;
  readonly inputs: readonly InputSpec[];
  readonly blockLists: readonly BlockList[];
  readonly cacheGroups: readonly (readonly string[])[];
  readonly tokens: Readonly<Record<string, number>> | undefined;
  /** Why it has none. */
  readonly withoutTokens: string | undefined;
  readonly linearAttention: boolean;
  readonly separateCfg: boolean;
  prepare(tensors: Record<string, Tensor>, inputs: ForwardInputs): Prepared;
  prologue(m: Module, inputs: State, statics: Statics): State;
  epilogue(m: Module, state: State, statics: Statics): SymbolicTensor;
  smallestCalls(ones: MakeOnes): readonly SmallestCall[];
  readonly ignoredWeights: readonly IgnoredWeights[];
  readonly float32Modules: readonly string[];
  readonly originalNames: NameTable;
  present(sample: Tensor, inputs: ForwardInputs): ModelOutput;
}

/** What a call returns. */
export interface ModelOutput {
  /** Diffusers' `Transformer2DModelOutput.sample`: a tensor, or a list where Diffusers returns one. */
  sample: Tensor | Tensor[];
  /** Diffusers' `audio_sample`, of models that make sound with a video. */
  audioSample?: Tensor;
}

/** A family as the registry holds it. */
export interface TransformerFamily {
  readonly className: string;
  configure(config: ConfigReader): Transformer;
}

/**
 * Closes a typed definition over a config, so that nothing above needs to know its types.
 * @example
 * const family = defineTransformer<SomeConfig, SomeState>({
 *   className: 'SomeTransformer2DModel',
 *   separateCfg: false,
 *   parseConfig: (config) => ({ width: config.integer('hidden_size', 1152), blocks: config.integer('num_layers', 28) }),
 *   inputs: ({ width }) => [{ name: 'hidden_states', kind: 'float', shape: ['batch', 'tokens', width] }],
 *   prologue: (m, inputs, { width }) => ({ hidden_states: linear(m.at('proj_in'), inputs.hidden_states!, width) }),
 *   blockLists: () => [],
 *   epilogue: (m, state, { width }) => linear(m.at('proj_out'), state.hidden_states, width),
 * });
 * registerTransformer(family);
 */
export function defineTransformer<Config, S extends State>(
  definition: TransformerDefinition<Config, S>,
): TransformerFamily {
  return {
    className: definition.className,
    configure(reader) {
      const config = definition.parseConfig(reader);
      reader.rejectUnsupported();
      const lists = definition.blockLists(config);
      return {
        className: definition.className,
        config: reader.json,
        traits: definition.traits?.(config),
        inputs: definition.inputs(config),
        // A list is only ever given the state that this definition's own prologue and blocks return.
        blockLists: lists as readonly unknown[] as readonly BlockList[],
        cacheGroups: definition.cacheGroups ?? lists.map(({ name }) => [name]),
        tokens: typeof definition.tokens === 'string' ? undefined : definition.tokens,
        withoutTokens: typeof definition.tokens === 'string' ? definition.tokens : undefined,
        linearAttention: definition.linearAttention ?? false,
        separateCfg: definition.separateCfg,
        prepare: (tensors, inputs) => definition.prepare?.(tensors, config, inputs) ?? { tensors },
        prologue: (m, inputs, statics) => definition.prologue(m, inputs, config, statics),
        epilogue: (m, state, statics) => definition.epilogue(m, state as S, config, statics),
        smallestCalls: (ones) => definition.smallestCalls?.(config, ones) ?? [{}],
        ignoredWeights: definition.ignoredWeights ?? [],
        float32Modules: definition.float32Modules ?? [],
        originalNames: definition.originalNames ?? {},
        present: (sample, inputs) => asOutput(definition.present?.(sample, inputs, config) ?? sample),
      };
    },
  };
}

function asOutput(presented: Tensor | Tensor[] | AudioVideo): ModelOutput {
  return presented instanceof Tensor || Array.isArray(presented) ? { sample: presented } : presented;
}
