/**
 * Rewrites graphs: every operator is emitted anew, as it was or as a rule says. Rules combine `SymbolicTensor`s as layers do, so shapes
 * are checked again. Which rules there are is up to `lower/` and `float16.ts`.
 */
import { GraphBuilder } from './builder.ts';
import type { Graph, GraphNode } from './graph.ts';
import type { SymbolicTensor } from './symbolic.ts';

/** An operator whose inputs have been rewritten already. */
export interface Rewriting {
  readonly graph: Graph;
  readonly node: GraphNode;
  /** Undefined where an optional input is left out. */
  readonly inputs: readonly (SymbolicTensor | undefined)[];
  readonly builder: GraphBuilder;
}

/** What an operator becomes: a tensor for each of its outputs, of the same shape, if not type. Undefined: it stays as it is. */
export type Rewrite = (rewriting: Rewriting) => readonly SymbolicTensor[] | undefined;

/** Inputs, weights and outputs keep names, types and order. */
export function rewriteGraph(graph: Graph, rewrite: Rewrite): Graph {
  const builder = new GraphBuilder();
  const values = new Map<string, SymbolicTensor>();
  for (const [name, { dtype, shape }] of graph.inputs) values.set(name, builder.input(name, dtype, shape));
  // A builder would number the slots of weights anew.
  for (const { slot, dtype, shape } of graph.weights) values.set(slot, builder.input(slot, dtype, shape));
  for (const [name, tensor] of graph.constants) values.set(name, builder.constant(tensor));
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((name) => values.get(name));
    const outputs = builder.scope(
      node.path,
      () => rewrite({ graph, node, inputs, builder }) ?? emitSame(builder, node, inputs),
    );
    for (const [i, name] of node.outputs.entries()) values.set(name, outputs[i]!);
  }
  for (const [name, { value, dtype }] of graph.outputs) builder.output(name, values.get(value)!.cast(dtype));
  return { ...builder.finish(), inputs: graph.inputs, weights: graph.weights, flops: graph.flops };
}

function emitSame(builder: GraphBuilder, node: GraphNode, inputs: Rewriting['inputs']): SymbolicTensor[] {
  const { op, specs, attributes } = node;
  return builder.emitMany(op, specs, { inputs, attributes: { ...attributes }, domain: domainOf(node) });
}

/** The two domains that a builder emits in. */
export function domainOf({ domain }: GraphNode): '' | 'com.microsoft' {
  return domain === 'com.microsoft' ? domain : '';
}

/** An attribute that is a float; undefined where it is left out. */
export function floatAttribute({ attributes }: GraphNode, name: string): number | undefined {
  const value = attributes[name];
  return typeof value === 'object' && 'float' in value ? value.float : undefined;
}
