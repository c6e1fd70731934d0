/**
 * A graph as one rank of a mesh computes it: the same operators on this rank's parts, with collectives where parts of other ranks are
 * needed. The graph itself is that of one process and knows of no ranks. Every operator has a rule (`rules/`) that says how the parts of its
 * inputs become parts of its outputs; without one its inputs are gathered, so that a result is never wrong, only dearer.
 *
 * What depends on weights and constants alone ("static") is emitted when it is asked for, in the parts that are asked for, so that a
 * rank has only those parts of a weight that its operators use. All ranks emit the same collectives in the same order.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { GraphBuilder } from '../../graph/builder.ts';
import type { AttributeValue, Graph, GraphNode, ValueSpec } from '../../graph/graph.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import type { Shape } from '../../tensor/tensor.ts';
import { gatherAxis, sliceAxis } from './exchanges.ts';
import {
  cutTensor,
  type Dealt,
  evenly,
  isWhole,
  type Layout,
  layoutKey,
  localShape,
  rangesOf,
  sameDealt,
  whole,
  withAxis,
} from './layout.ts';
import type { Mesh, Place } from './mesh.ts';
import { backwardLayouts } from './rules/backward.ts';
import { findRule } from './rules/rules.ts';

/** Of a layer's weight: its rows, so that the results are in parts; its columns, so that they are summed; or not. */
export type LayerCut = 'colwise' | 'rowwise' | 'replicate';

export interface PartitionOptions {
  mesh: Mesh;
  rank: number;
  /** Of the graph's inputs; those that are not named are whole. */
  inputs: ReadonlyMap<string, Layout>;
  features: Features;
}

/** What is dealt out, and how it is exchanged where there is a choice. */
export interface Features {
  /** By the model's names: the axis of values that counts tokens. */
  tokens: Readonly<Record<string, number>>;
  /** Instead of what is found out about layers: how a layer's weight is cut, by the layer's path. */
  cutOf?: ((path: string) => LayerCut | undefined) | undefined;
  /** Queries, keys and values leave for the other ranks one by one, each as soon as it is there. */
  async: boolean;
  /** Queries, values and results of attention travel to ranks of other heads in 8 bits. */
  float8: boolean;
}

/** A part of a weight that a rank's graph takes, under the name `slot` there. */
export interface WeightPart {
  /** In the graph that was partitioned. */
  readonly of: string;
  readonly layout: Layout;
}

export interface PartitionedGraph {
  /** Its weights are named as in `weights`. */
  readonly graph: Graph;
  readonly weights: ReadonlyMap<string, WeightPart>;
  readonly outputs: ReadonlyMap<string, Layout>;
}

interface Value {
  layout: Layout;
  tensor: SymbolicTensor;
}

/** Keys that are picked from a dealt tensor by indices known only at run time: attention picks them when it has all of them. */
export interface Picked {
  readonly from: string;
  readonly indices: string;
}

export function partition(graph: Graph, options: PartitionOptions): PartitionedGraph {
  return new Partition(graph, options).run();
}

/** What rules work with. */
export class Partition {
  readonly builder = new GraphBuilder();
  readonly mesh: Mesh;
  readonly place: Place;
  readonly features: Features;
  /** Who takes a value, and as which input. */
  readonly uses = new Map<string, { node: GraphNode; input: number }[]>();
  readonly picked = new Map<string, Picked>();
  private readonly specs = new Map<string, ValueSpec>();
  private readonly makers = new Map<string, GraphNode>();
  private readonly statics = new Set<string>();
  private readonly values = new Map<string, Value>();
  private readonly taken = new Map<string, SymbolicTensor>();
  private readonly weights = new Map<string, WeightPart>();

  constructor(
    readonly graph: Graph,
    private readonly options: PartitionOptions,
  ) {
    this.mesh = options.mesh;
    this.place = options.mesh.place(options.rank);
    this.features = options.features;
    for (const [name, spec] of graph.inputs) this.specs.set(name, spec);
    for (const { slot, ...spec } of graph.weights) this.note(slot, spec);
    for (const [name, { dtype, shape }] of graph.constants) this.note(name, { dtype, shape });
    for (const node of graph.nodes) {
      const isStatic = node.inputs.every((name) => name === '' || this.statics.has(name));
      for (const [i, name] of node.outputs.entries()) {
        this.specs.set(name, node.specs[i]!);
        this.makers.set(name, node);
        if (isStatic) this.statics.add(name);
      }
      for (const [input, name] of node.inputs.entries())
        if (name !== '') this.uses.set(name, [...(this.uses.get(name) ?? []), { node, input }]);
    }
  }

  run(): PartitionedGraph {
    const { graph, builder } = this;
    for (const [name, { dtype, shape }] of graph.inputs) {
      const layout = this.options.inputs.get(name) ?? whole(shape.length);
      this.define(name, layout, builder.input(name, dtype, localShape(shape, { layout, place: this.place })));
    }
    for (const node of graph.nodes)
      if (!node.outputs.every((name) => this.statics.has(name)))
        builder.scope(node.path, () => findRule(node)(this, node));
    const outputs = new Map<string, Layout>();
    for (const [name, { value }] of graph.outputs) {
      const layout = this.layoutOf(value);
      builder.output(name, this.take(value, layout));
      outputs.set(name, layout);
    }
    return { graph: builder.finish(), weights: this.weights, outputs };
  }

  shapeOf(name: string): Shape {
    return this.specOf(name).shape;
  }

  specOf(name: string): ValueSpec {
    return this.specs.get(name)!;
  }

  /** Static values lie as one asks for them. */
  layoutOf(name: string): Layout {
    return this.values.get(name)?.layout ?? whole(this.shapeOf(name).length);
  }

  isStatic(name: string): boolean {
    return this.statics.has(name);
  }

  makerOf(name: string): GraphNode | undefined {
    return this.makers.get(name);
  }

  /** What a plan says of a layer; of those that it does not name, to leave them whole. */
  cutOf({ path }: GraphNode): LayerCut | undefined {
    const { cutOf } = this.features;
    return cutOf && (cutOf(path) ?? 'replicate');
  }

  /** The integers of a constant: axes, sizes, bounds. */
  integers(name: string): number[] {
    const constant = this.graph.constants.get(name);
    if (!constant) throw new DejaDitError('UNSUPPORTED', `'${name}' is no constant, so its operator cannot be parted`);
    return Array.from(constant.data, Number);
  }

  /** Says what this rank has of a value. */
  define(name: string, layout: Layout, tensor: SymbolicTensor): void {
    this.values.set(name, { layout, tensor });
    this.taken.set(`${name}|${layoutKey(layout)}`, tensor);
    // Nothing computes with tensors of no elements.
    const empty = layout.findIndex((dealt) => dealt !== undefined && hasEmptyPart(dealt));
    if (empty >= 0) this.settle(name, withAxis(layout, empty, undefined));
    const known = this.graph.named?.get(name);
    if (known === undefined) return;
    if (samples.includes(known)) this.dealSamples(name);
    const axis = this.features.tokens[known];
    if (axis !== undefined) this.deal(name, axis);
  }

  /** This rank's part of a value in a layout, exchanged or cut where it lies otherwise. */
  take(name: string, layout: Layout): SymbolicTensor {
    const key = `${name}|${layoutKey(layout)}`;
    let tensor = this.taken.get(key);
    if (!tensor) {
      tensor = this.isStatic(name) ? this.makeStatic(name, layout) : this.relay(name, layout);
      this.taken.set(key, tensor);
    }
    return tensor;
  }

  /** Emits a node on parts and defines its outputs. Shapes that are inputs of operators are up to the caller. */
  emit(node: GraphNode, parts: EmitParts): void {
    const tensors = this.apply(node, parts);
    for (const [i, name] of node.outputs.entries()) this.define(name, parts.layouts[i]!, tensors[i]!);
  }

  /** The same, where the outputs are not yet the node's. */
  apply(node: GraphNode, { inputs, layouts, attributes = {} }: EmitParts): SymbolicTensor[] {
    const specs = node.specs.map(({ dtype, shape }, i) => ({ dtype, shape: this.local(shape, layouts[i]!) }));
    const domain = node.domain as '' | 'com.microsoft';
    return this.builder.emitMany(node.op, specs, { inputs, domain, attributes: { ...node.attributes, ...attributes } });
  }

  local(shape: Shape, layout: Layout): number[] {
    return localShape(shape, { layout, place: this.place });
  }

  private note(name: string, spec: ValueSpec): void {
    this.specs.set(name, spec);
    this.statics.add(name);
  }

  /** Deals a value that is known to run along tokens, if it is long enough. */
  private deal(name: string, axis: number): void {
    const { layout } = this.values.get(name)!;
    const parts = this.mesh.count('sequence');
    const size = this.shapeOf(name)[axis]!;
    if (parts === 1 || size < parts || layout.some((dealt) => dealt?.over === 'sequence') || layout[axis]) return;
    this.settle(name, withAxis(layout, axis, { over: 'sequence', segments: [evenly(size, { parts })] }));
  }

  /** Deals the first axis of what has one entry for each sample. */
  private dealSamples(name: string): void {
    const parts = this.mesh.count('batch');
    const { layout } = this.values.get(name)!;
    if (parts === 1 || layout.some((dealt) => dealt?.over === 'batch')) return;
    const size = this.shapeOf(name)[0]!;
    if (size < parts)
      throw new DejaDitError('UNSUPPORTED', `${size} sample(s) in a call cannot be shared out to ${parts} ranks`, {
        path: 'parallelismConfig.cfgSize',
      });
    this.settle(name, withAxis(layout, 0, { over: 'batch', segments: [evenly(size, { parts })] }));
  }

  /** Brings a value into another layout, for all who take it as it lies. */
  settle(name: string, layout: Layout): void {
    this.values.set(name, { layout, tensor: this.take(name, layout) });
  }

  private relay(name: string, target: Layout): SymbolicTensor {
    const value = this.values.get(name);
    if (!value) throw new DejaDitError('UNSUPPORTED', `'${name}' is asked for before it is made`);
    let { tensor } = value;
    const differs = (axis: number) => !sameDealt(value.layout[axis], target[axis]);
    for (const [axis, dealt] of value.layout.entries())
      if (dealt && differs(axis)) tensor = gatherAxis(tensor, { axis, dealt, mesh: this.mesh });
    for (const [axis, dealt] of target.entries()) if (dealt && differs(axis)) tensor = this.cut(tensor, axis, dealt);
    return tensor;
  }

  private cut(tensor: SymbolicTensor, axis: number, dealt: Dealt): SymbolicTensor {
    return sliceAxis(tensor, axis, rangesOf(dealt, this.place[dealt.over]));
  }

  private makeStatic(name: string, layout: Layout): SymbolicTensor {
    const { builder, place, graph } = this;
    const constant = graph.constants.get(name);
    if (constant) return builder.constant(cutTensor(constant, { layout, place }));
    const spec = this.specOf(name);
    const node = this.makers.get(name);
    if (!node) {
      const part = `${name}|${layoutKey(layout)}`;
      this.weights.set(part, { of: name, layout });
      return builder.weight(part, { dtype: spec.dtype, shape: this.local(spec.shape, layout) });
    }
    const wanted = node.outputs.length === 1 ? backwardLayouts(this, node, layout) : undefined;
    if (!wanted && !isWhole(layout)) {
      const all = this.take(name, whole(spec.shape.length));
      return layout.reduce<SymbolicTensor>((x, dealt, axis) => (dealt ? this.cut(x, axis, dealt) : x), all);
    }
    const inputs = node.inputs.map((input, i) => {
      if (input === '') return undefined;
      if (i === 1 && (node.op === 'Reshape' || node.op === 'Expand'))
        return builder.integers(this.local(spec.shape, layout));
      return this.take(input, wanted?.[i] ?? whole(this.shapeOf(input).length));
    });
    const layouts = node.specs.map(({ shape }) => (wanted ? layout : whole(shape.length)));
    const tensors = this.apply(node, { inputs, layouts });
    for (const [i, output] of node.outputs.entries())
      this.taken.set(`${output}|${layoutKey(layouts[i]!)}`, tensors[i]!);
    return tensors[node.outputs.indexOf(name)]!;
  }
}

/** Streams of which every sample has one. */
const samples = ['hidden_states', 'encoder_hidden_states', 'text'];

export interface EmitParts {
  inputs: readonly (SymbolicTensor | undefined)[];
  /** Of the outputs. */
  layouts: readonly Layout[];
  /** Those that differ. */
  attributes?: Record<string, AttributeValue>;
}

function hasEmptyPart({ segments }: Dealt): boolean {
  return segments[0]!.some((_, member) => segments.every((parts) => parts[member] === 0));
}
