/** How large a model is, from its config alone: it is emitted as a graph over weights that exist in name only. */
import { GraphBuilder } from '../../graph/builder.ts';
import { peakBytes } from '../../graph/memory.ts';
import { ConfigReader } from '../../models/config-reader.ts';
import type { State, Transformer } from '../../models/definition.ts';
import { checkInputs, type ForwardInputs, type TensorInput } from '../../models/inputs.ts';
import { epilogue, prologue, type SpanContext, wholeList } from '../../models/pieces.ts';
import { findTransformer } from '../../models/registry.ts';
import { onesOf, smallestInputs } from '../../models/smallest-inputs.ts';
import { Module, type WeightCatalog } from '../../nn/module.ts';
import { type Shape, sizeOf, type Tensor } from '../../tensor/tensor.ts';
import { formatBytes } from '../../weights/formats/weight-format.ts';
import type { WeightInfo } from '../../weights/weight-info.ts';
import type { RandomFormat } from '../bench/random-weights.ts';
import type { ModelCall, PublishedModel } from './published.ts';

export interface ModelSize {
  parameters: number;
  /** Of all weights, in the types that `quantize` makes of linear layers by default; what is no linear layer stays float32. */
  bytes: { float32: number; int8: number; int4: number };
  /** Of a call at the size that the model is published with. */
  call: { flops: number; peak: number };
}

/**
 * The most memory that a process takes for a call: its weights, what Node and ONNX Runtime take, and an arena that outgrows what the values
 * of the graph come to. The two numbers are fitted to what `npm run bench:sizes` measured; `docs/sizes.md` has both beside each other.
 */
export function processPeak({ weights, values }: { weights: number; values: number }): number {
  return weights + 0.25e9 + 2.3 * values;
}

/** As `quantize` makes them by default. */
const formats = {
  int8_per_row: { kind: 'int8', scales: 'row', activations: 'row' },
  int4_weight_only: { kind: 'block', bits: 4, blockSize: 32 },
} as const satisfies Record<string, RandomFormat>;

export type SizedType = keyof typeof formats;
export const sizedTypes = Object.keys(formats) as SizedType[];

/** Any weight that is asked for, and which of them linear layers multiply with. */
class NamedWeights implements WeightCatalog {
  readonly origin = 'a published config';
  readonly shapes: Map<string, Shape>;
  private readonly factors = new Set<string>();
  readonly onUse = (name: string, use: 'product' | 'rows'): void => {
    if (use === 'product') this.factors.add(name);
  };

  /** @param known weights that the model takes as they are */
  constructor(known: Iterable<[string, Shape]>) {
    this.shapes = new Map(known);
  }

  has(): boolean {
    return true;
  }

  info(name: string, expected?: Shape): WeightInfo | undefined {
    if (expected && !this.shapes.has(name)) this.shapes.set(name, expected);
    const shape = this.shapes.get(name);
    return shape && { dtype: 'float32', shape };
  }

  /** The format of a matrix that a type of quantisation changes. */
  formatOf(type: SizedType, name: string, shape: Shape): RandomFormat | undefined {
    const format = formats[type];
    if (!this.factors.has(name) || shape.length !== 2) return undefined;
    return format.kind === 'block' && shape[1]! % format.blockSize !== 0 ? undefined : format;
  }

  /** @param type default: float32 */
  bytes(type?: SizedType): number {
    return [...this.shapes].reduce((sum, [name, shape]) => {
      const format = type && this.formatOf(type, name, shape);
      return sum + (format ? formatBytes(format, shape) : 4 * sizeOf(shape));
    }, 0);
  }
}

/** A published model, emitted once for its smallest calls: which weights it has is known then. */
export async function describeModel({ family, config, weights: known = {} }: PublishedModel) {
  const model = (await findTransformer(family))!.configure(new ConfigReader({ ...config }, family));
  const weights = new NamedWeights(Object.entries(known));
  for (const smallest of model.smallestCalls(onesOf)) {
    const { inputs } = smallestInputs(model.inputs, smallest, onesOf);
    emit(model, weights, inputs);
  }
  return { model, weights };
}

/** @throws DejaDitError if the config is none of the family's, or the call does not fit it */
export async function modelSize(published: PublishedModel): Promise<ModelSize> {
  const { model, weights } = await describeModel(published);
  const graph = emit(model, weights, callInputs(model, published.call));
  return {
    parameters: [...weights.shapes.values()].reduce((sum, shape) => sum + sizeOf(shape), 0),
    bytes: {
      float32: weights.bytes(),
      int8: weights.bytes('int8_per_row'),
      int4: weights.bytes('int4_weight_only'),
    },
    call: { flops: graph.flops, peak: peakBytes(graph) },
  };
}

function emit(model: Transformer, catalog: WeightCatalog, inputs: ForwardInputs) {
  const { tensors, statics = {} } = model.prepare(checkInputs(model.inputs, inputs), inputs);
  const graph = new GraphBuilder();
  const state: State = Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, shape }]) => [name, graph.input(name, dtype, shape)]),
  );
  const context: SpanContext = {
    graph,
    root: new Module(graph, catalog),
    state,
    statics,
    extra: (name) => graph.fail(`the model asks for the tensor '${name}'`),
    output: (name, tensor) => graph.output(name, tensor),
    blockFlops: new Map(),
  };
  const pieces = [prologue(model), ...model.blockLists.flatMap((_, list) => wholeList(model, list)), epilogue(model)];
  for (const piece of pieces) piece.emit(context);
  return graph.finish();
}

/**
 * Inputs in the sizes of a call; what is optional is left out unless the call has it.
 * @param make their values. Default: ones
 */
export function callInputs(
  model: Transformer,
  { sizes = {}, inputs = {} }: ModelCall,
  make: (name: string, shape: Shape, kind: TensorInput['kind']) => Tensor = (_, shape, kind) => onesOf(shape, kind),
): ForwardInputs {
  const tensors = model.inputs.flatMap((spec) => {
    if (spec.kind === 'other' || (spec.optional && !(spec.name in inputs))) return [];
    const shape = spec.shape.map((dim) => (typeof dim === 'number' ? dim : (sizes[dim] ?? 1)));
    return [[spec.name, make(spec.name, shape, spec.kind)] as const];
  });
  return { ...Object.fromEntries(tensors), ...inputs };
}
