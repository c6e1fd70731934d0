/**
 * Collects operators into a graph. Layers do not call it directly: they combine `SymbolicTensor`s (`symbolic.ts`) with the
 * operators of `ops/`, which check shapes and call `emit`.
 */
import { DejaDitError } from '../errors/errors.ts';
import { fromFloat32 } from '../tensor/convert.ts';
import type { DType } from '../tensor/dtype.ts';
import { floatTensor, intTensor, Tensor } from '../tensor/tensor.ts';
import type { AttributeValue, Graph, GraphNode, ValueSpec, WeightSlot } from './graph.ts';
import { SymbolicTensor } from './symbolic.ts';

export interface EmitOptions {
  inputs: readonly (SymbolicTensor | undefined)[];
  attributes?: Record<string, AttributeValue>;
  /** Default: the ONNX domain. `collective`: no operator but an exchange with other ranks, at which the graph is cut. */
  domain?: '' | 'com.microsoft' | typeof collectiveDomain;
}

/** Of nodes that exchange with other ranks. They are never dropped: the others wait for them. */
export const collectiveDomain = 'collective';

export class GraphBuilder {
  private readonly inputs = new Map<string, ValueSpec>();
  private readonly weights = new Map<string, WeightSlot>();
  private readonly constants = new Map<string, Tensor>();
  private readonly constantNames = new Map<string, string>();
  private readonly nodes: GraphNode[] = [];
  private readonly outputs = new Map<string, ValueSpec & { value: string }>();
  private readonly named = new Map<string, string>();
  private path = '';
  private nextValue = 0;
  /** Floating-point operations of what has been emitted so far. */
  flops = 0;

  /** @param shares equal parts of the rows of every batch that belong to requests of their own: what is measured over a tensor is measured over each */
  constructor(readonly shares = 1) {}

  /** A run-time input. */
  input(name: string, dtype: DType, shape: readonly number[]): SymbolicTensor {
    this.inputs.set(name, { dtype, shape });
    return new SymbolicTensor(this, name, dtype, shape);
  }

  /** A tensor of the checkpoint, fed at run time. The same name twice gives the same slot. */
  weight(name: string, { dtype, shape }: ValueSpec): SymbolicTensor {
    let slot = this.weights.get(name);
    if (!slot) {
      slot = { slot: `w${this.weights.size}`, name, dtype, shape };
      this.weights.set(name, slot);
    }
    return new SymbolicTensor(this, slot.slot, slot.dtype, slot.shape);
  }

  /** A small tensor that is part of the graph's structure (shapes, axes, frequency tables). Equal constants are shared. */
  constant(tensor: Tensor): SymbolicTensor {
    const key = `${tensor.dtype}|${tensor.shape}|${tensor.data.join()}`;
    let name = this.constantNames.get(key);
    if (name === undefined) {
      name = `c${this.constants.size}`;
      this.constants.set(name, tensor);
      this.constantNames.set(key, name);
    }
    return new SymbolicTensor(this, name, tensor.dtype, tensor.shape);
  }

  scalar(value: number, dtype: DType = 'float32'): SymbolicTensor {
    if (dtype === 'int64') return this.constant(intTensor([value], []));
    if (dtype === 'float32') return this.constant(floatTensor([value], []));
    if (dtype === 'float16')
      return this.constant(new Tensor('float16', fromFloat32('float16', Float32Array.of(value)), []));
    throw new DejaDitError('UNSUPPORTED', `no ${dtype} scalar constants`, { path: this.path });
  }

  integers(values: readonly number[]): SymbolicTensor {
    return this.constant(intTensor(values));
  }

  /** Appends an operator with one output. */
  emit(op: string, output: ValueSpec, options: EmitOptions): SymbolicTensor {
    return this.emitMany(op, [output], options)[0]!;
  }

  /** Appends an operator with several outputs. */
  emitMany(
    op: string,
    outputs: readonly ValueSpec[],
    { inputs, attributes = {}, domain = '' }: EmitOptions,
  ): SymbolicTensor[] {
    for (const input of inputs) {
      if (input && input.graph !== this) this.fail(`${op} mixes tensors of two graphs`);
    }
    const tensors = outputs.map(({ dtype, shape }) => new SymbolicTensor(this, `v${this.nextValue++}`, dtype, shape));
    this.nodes.push({
      op,
      domain,
      inputs: inputs.map((input) => input?.name ?? ''),
      outputs: tensors.map((tensor) => tensor.name),
      specs: outputs.map(({ dtype, shape }) => ({ dtype, shape })),
      attributes,
      path: this.path,
    });
    return tensors;
  }

  /** Declares an output. A tensor that no operator made (an input, a constant) goes through Identity, as ONNX wants. */
  output(name: string, tensor: SymbolicTensor): void {
    const made = tensor.name.startsWith('v') && ![...this.outputs.values()].some(({ value }) => value === tensor.name);
    const source = made ? tensor : this.emit('Identity', tensor, { inputs: [tensor] });
    this.outputs.set(name, { value: source.name, dtype: tensor.dtype, shape: tensor.shape });
  }

  /** Says what a model calls a tensor, for whoever parts the graph; changes nothing about what is computed. */
  nameValue(tensor: SymbolicTensor, name: string): void {
    this.named.set(tensor.name, name);
  }

  /** Adds to the graph's operation count. */
  countFlops(flops: number): void {
    this.flops += flops;
  }

  /** Runs `build` with `path` as the module path of everything it emits and of every error it throws. */
  scope<T>(path: string, build: () => T): T {
    const outer = this.path;
    this.path = path;
    try {
      return build();
    } finally {
      this.path = outer;
    }
  }

  /** Throws a shape error that names the module path. */
  fail(message: string): never {
    throw new DejaDitError('SHAPE_MISMATCH', message, this.path === '' ? {} : { path: this.path });
  }

  /** The graph, without what no output depends on: ONNX Runtime would compute it all the same. */
  finish(): Graph {
    const { inputs, constants, outputs, flops, named } = this;
    const needed = new Set([...outputs.values()].map(({ value }) => value));
    const nodes = this.nodes
      .toReversed()
      .filter((node) => {
        const live = node.domain === collectiveDomain || node.outputs.some((name) => needed.has(name));
        if (live) for (const name of node.inputs) needed.add(name);
        return live;
      })
      .reverse();
    const weights = [...this.weights.values()].filter(({ slot }) => needed.has(slot));
    return { inputs, constants, nodes, outputs, flops, weights, named };
  }
}
