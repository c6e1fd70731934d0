/** How large a model is, from its config alone: it is emitted as a graph over weights that exist in name only. */
import { GraphBuilder } from '../../graph/builder.ts';
import { peakBytes } from '../../graph/memory.ts';
import { ConfigReader } from '../../models/config-reader.ts';
import type { State, Transformer } from '../../models/definition.ts';
import { checkInputs, type ForwardInputs } from '../../models/inputs.ts';
import { epilogue, prologue, type SpanContext, wholeList } from '../../models/pieces.ts';
import { findTransformer } from '../../models/registry.ts';
import { onesOf, smallestInputs } from '../../models/smallest-inputs.ts';
import { Module, type WeightCatalog } from '../../nn/module.ts';
import { bytesPerElement } from '../../tensor/dtype.ts';
import { type Shape, sizeOf } from '../../tensor/tensor.ts';
import { partsOf, type WeightFormat } from '../../weights/formats/weight-format.ts';
import type { WeightInfo } from '../../weights/weight-info.ts';
import type { PublishedModel } from './published.ts';

export interface ModelSize {
  parameters: number;
  /** Of all weights, in the types that `quantize` makes of linear layers by default; what is no linear layer stays float32. */
  bytes: { float32: number; int8: number; int4: number };
  /** Of a call at the size that the model is published with. */
  call: { flops: number; peak: number };
}

/** Any weight that is asked for. */
class NamedWeights implements WeightCatalog {
  readonly origin = 'a published config';
  readonly shapes: Map<string, Shape>;
  /** Those that linear layers multiply with. */
  readonly factors = new Set<string>();
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
}

/** @throws DejaDitError if the config is none of the family's, or the call does not fit it */
export async function modelSize({ family, config, weights: known = {}, call }: PublishedModel): Promise<ModelSize> {
  const model = (await findTransformer(family))!.configure(new ConfigReader({ ...config }, family));
  const weights = new NamedWeights(Object.entries(known));
  for (const smallest of model.smallestCalls(onesOf)) {
    const { inputs } = smallestInputs(model.inputs, smallest, onesOf);
    emit(model, weights, inputs);
  }
  const graph = emit(model, weights, usualInputs(model, call));
  return {
    parameters: [...weights.shapes.values()].reduce((sum, shape) => sum + sizeOf(shape), 0),
    bytes: {
      float32: bytesIn(weights, undefined),
      int8: bytesIn(weights, { kind: 'int8', scales: 'row', activations: 'row' }),
      int4: bytesIn(weights, { kind: 'block', bits: 4, blockSize: 32 }),
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

/** Ones in the sizes of a call; what is optional is left out unless the call has it. */
function usualInputs(model: Transformer, { sizes = {}, inputs = {} }: PublishedModel['call']): ForwardInputs {
  const tensors = model.inputs.flatMap((spec) => {
    if (spec.kind === 'other' || (spec.optional && !(spec.name in inputs))) return [];
    const shape = spec.shape.map((dim) => (typeof dim === 'number' ? dim : (sizes[dim] ?? 1)));
    return [[spec.name, onesOf(shape, spec.kind)] as const];
  });
  return { ...Object.fromEntries(tensors), ...inputs };
}

/** @param format of the matrices of linear layers that it can hold. Default: float32 */
function bytesIn({ shapes, factors }: NamedWeights, format: WeightFormat | undefined): number {
  const own = ([name, shape]: [string, Shape]) => {
    const isHeld =
      format && factors.has(name) && shape.length === 2 && (format.kind !== 'block' || shape[1]! % 32 === 0);
    if (!isHeld) return 4 * sizeOf(shape);
    const parts = Object.values(partsOf(format, shape));
    return parts.reduce((sum, part) => sum + bytesPerElement(part.dtype) * sizeOf(part.shape), 0);
  };
  return [...shapes].reduce((sum, entry) => sum + own(entry), 0);
}
