/**
 * Which tensors of a checkpoint a model reads, known before any is read: the model is emitted for the smallest inputs over the
 * tensors' names and shapes. A tensor that is missing or has a wrong shape is an error here, one that is left over an error or a
 * warning.
 */
import { DejaDitError } from '../errors/errors.ts';
import { GraphBuilder } from '../graph/builder.ts';
import { Module, type WeightCatalog } from '../nn/module.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { isNarrowFloat } from '../weights/safetensors/safetensors-data.ts';
import type { WeightSource } from '../weights/weight-source.ts';
import type { WeightStoreOptions } from '../weights/weight-store.ts';
import type { Prepared, State, Statics, Transformer } from './definition.ts';
import type { BoundModel } from './graph-model.ts';
import type { ForwardInputs, InputSpec } from './inputs.ts';
import { epilogue, prologue, type SpanContext, wholeList } from './pieces.ts';
import { type MakeOnes, onesFor, type SmallestCall, smallestInputs } from './smallest-inputs.ts';

/** Something that can be emitted: a transformer's forward, or one function of another model. */
interface Emission {
  readonly inputs: readonly InputSpec[];
  smallestCalls(ones: MakeOnes): readonly SmallestCall[];
  prepare(tensors: Record<string, Tensor>, inputs: ForwardInputs): Prepared;
  emit(root: Module, inputs: State, statics: Statics): void;
}

/** A model's definition, bound to its config. */
export type AccountedModel = Transformer | BoundModel;

export interface Account {
  /** The tensors that the model reads, in the order of the source. */
  names: string[];
  /** Those among them that linear layers multiply with and nothing else reads: they can be held in any format. */
  factors: ReadonlySet<string>;
  /** One line about tensors that are left over. */
  warning: string | undefined;
}

export interface AccountOptions {
  /** Folder, for error messages. */
  origin: string;
  weightDtype: WeightStoreOptions['weightDtype'];
}

/**
 * Holds a model against a checkpoint.
 * @throws DejaDitError MISSING_WEIGHT or SHAPE_MISMATCH naming the tensor; INVALID_CONFIG for tensors of layers that the config
 *   does not have, which tells that it belongs to another checkpoint
 */
export function accountWeights(model: AccountedModel, source: WeightSource, options: AccountOptions): Account {
  const { used, factors } = usedWeights(model, source, options);
  return {
    factors,
    names: source.names.filter((name) => used.has(name)),
    warning: leftOver(model, { names: source.names, used, origin: options.origin }),
  };
}

/**
 * What is to be said of the tensors that a model does not read; undefined if it reads all but those that it may ignore.
 * @throws DejaDitError INVALID_CONFIG if some are in lists of modules that the model has: more blocks than the config says, or other
 *   ones
 */
export function leftOver(
  model: AccountedModel,
  { names, used, origin }: { names: readonly string[]; used: ReadonlySet<string>; origin: string },
): string | undefined {
  const { className, ignoredWeights } = model;
  const left = names.filter((name) => !used.has(name) && !ignoredWeights.some((ignored) => ignored.names.test(name)));
  if (left.length === 0) return undefined;
  const own = 'blockLists' in model ? model.blockLists.map(({ name }) => name) : [];
  const lists = new Set([...own, ...[...used].flatMap(listsAbove)]);
  const inLists = left.filter((name) => listsAbove(name).some((list) => lists.has(list)));
  if (inLists.length > 0) {
    throw new DejaDitError(
      'INVALID_CONFIG',
      `${inLists.length} of ${names.length} tensors are in blocks of this ${className}, but not as config.json describes them: ${listed(inLists)}`,
      { path: origin },
    );
  }
  return `${origin}: ${left.length} of ${names.length} tensors are no part of a ${className} and are not used: ${listed(left)}`;
}

/** Names of tensors that a model reads. */
export interface UsedWeights {
  /** All, quantised ones by their own names and their parts'. */
  used: ReadonlySet<string>;
  /** As of an `Account`. */
  factors: ReadonlySet<string>;
}

/** @throws DejaDitError MISSING_WEIGHT or SHAPE_MISMATCH naming the tensor */
export function usedWeights(model: AccountedModel, source: WeightSource, options: AccountOptions): UsedWeights {
  const catalog = catalogOf(source, options);
  const ones = onesFor(options.origin);
  const used = new Set<string>();
  const uses = { product: new Set<string>(), rows: new Set<string>() };
  const recording: WeightCatalog = {
    origin: catalog.origin,
    has: (name) => catalog.has(name),
    info(name) {
      used.add(name);
      return catalog.info(name);
    },
    onUse: (name, use) => uses[use].add(name),
  };
  for (const { inputs: specs, smallestCalls, prepare, emit } of emissionsOf(model)) {
    for (const call of smallestCalls(ones)) {
      const { inputs, tensors } = smallestInputs(specs, call, ones);
      const prepared = prepare(tensors, inputs);
      const graph = new GraphBuilder();
      const state: State = Object.fromEntries(
        Object.entries(prepared.tensors).map(([name, { dtype, shape }]) => [name, graph.input(name, dtype, shape)]),
      );
      emit(new Module(graph, recording), state, prepared.statics ?? {});
    }
  }
  return { used, factors: new Set([...uses.product].filter((name) => !uses.rows.has(name))) };
}

function emissionsOf(model: AccountedModel): Emission[] {
  if ('functions' in model) return Object.values(model.functions).map((fn) => ({ ...fn, emit: fn.build }));
  const pieces = [prologue(model), ...model.blockLists.flatMap((_, list) => wholeList(model, list)), epilogue(model)];
  const { inputs, smallestCalls, prepare } = model;
  return [
    {
      inputs,
      smallestCalls,
      prepare,
      emit(root, state, statics) {
        const { graph } = root;
        const extra = (name: string) => graph.fail(`the model asks for the tensor '${name}'`);
        const context: SpanContext = { graph, root, state, statics, extra, output: () => {}, blockFlops: new Map() };
        for (const piece of pieces) piece.emit(context);
      },
    },
  ];
}

/** What a source's tensors will be once they are loaded. */
function catalogOf(source: WeightSource, { origin, weightDtype = 'float32' }: AccountOptions): WeightCatalog {
  return {
    origin,
    has: (name) => source.quantized?.has(name) || source.has(name),
    info(name) {
      const quantized = source.quantized?.get(name);
      if (quantized) return { dtype: 'float32', ...quantized };
      if (!source.has(name)) return undefined;
      const { dtype, shape } = source.info(name);
      return {
        dtype: weightDtype === 'float32' && isNarrowFloat(dtype) && !isPart(source, name) ? 'float32' : dtype,
        shape,
      };
    },
  };
}

function isPart({ quantized }: WeightSource, name: string): boolean {
  return quantized?.has(name.slice(0, name.lastIndexOf('.'))) ?? false;
}

/** Paths of the lists of modules that a tensor lies in: `blocks` and `blocks.0.to_out` for `blocks.0.to_out.0.weight`. */
function listsAbove(name: string): string[] {
  const parts = name.split('.');
  return parts.flatMap((part, i) => (/^\d+$/.test(part) ? [parts.slice(0, i).join('.')] : []));
}

/** Four names, or as many as a line has room for. */
function listed(names: readonly string[]): string {
  const quoted = names.slice(0, 4).map((name) => `'${name.slice(0, 120)}'`);
  const shown = quoted.filter((_, i) => i === 0 || quoted.slice(0, i + 1).join(', ').length <= 220);
  return `${shown.join(', ')}${names.length > shown.length ? ` and ${names.length - shown.length} more` : ''}`;
}
