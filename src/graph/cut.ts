/**
 * Cuts a graph into sections that run one after the other and together compute what the graph does. Values are named anew in each,
 * by their order alone, so that sections of equal structure (the blocks of a model) encode to equal bytes and share a program.
 */
import type { Tensor } from '../tensor/tensor.ts';
import { collectiveDomain } from './builder.ts';
import type { Graph, GraphNode, ValueSpec, WeightSlot } from './graph.ts';

export interface Section<Key> {
  /** What its operators have in common; undefined for a graph without any key. */
  readonly key: Key | undefined;
  /** A collective, which is a section of its own and no graph to be computed. */
  readonly collective: GraphNode | undefined;
  readonly graph: Graph;
  /** Input of the section → value of the whole graph: one of its inputs, or what an earlier section made. */
  readonly inputs: ReadonlyMap<string, string>;
  /** Output of the section → value of the whole graph, for whatever later sections or the caller need. */
  readonly outputs: ReadonlyMap<string, string>;
  /** Values that earlier sections or this one made and nobody needs after it. */
  readonly spent: readonly string[];
}

/**
 * Collectives are sections of their own.
 * @param keyOf what an operator belongs to, given the names of the weights it takes; an operator without a key stays with
 *   those before it
 */
export function cutGraph<Key>(
  graph: Graph,
  keyOf: (node: GraphNode, weights: readonly string[]) => Key | undefined = () => undefined,
): Section<Key>[] {
  const slots = new Map(graph.weights.map((weight) => [weight.slot, weight]));
  const groups: { key: Key | undefined; collective?: boolean; nodes: GraphNode[] }[] = [];
  for (const node of graph.nodes) {
    if (node.domain === collectiveDomain) {
      groups.push({ key: undefined, collective: true, nodes: [node] });
      continue;
    }
    const current = groups.findLast(({ collective }) => !collective);
    const weights = node.inputs.flatMap((input) => slots.get(input)?.name ?? []);
    const key = keyOf(node, weights) ?? current?.key;
    if (current && current === groups.at(-1) && (current.key === undefined || current.key === key)) {
      current.key = key;
      current.nodes.push(node);
    } else groups.push({ key, nodes: [node] });
  }

  /** The last section that needs a value; those that leave the graph are needed after all of them. */
  const lastUse = new Map<string, number>();
  for (const [i, { nodes }] of groups.entries())
    for (const { inputs } of nodes) for (const input of inputs) lastUse.set(input, i);
  for (const { value } of graph.outputs.values()) lastUse.set(value, groups.length);

  const made = new Map<string, ValueSpec>();
  return groups.map(({ key, nodes, collective }, index) => {
    const section = new SectionBuilder(graph, slots, made);
    for (const node of nodes) section.add(node);
    const outputs = section.made.filter((value) => (lastUse.get(value) ?? -1) > index);
    for (const value of outputs) made.set(value, section.specs.get(value)!);
    const spent = [...made.keys()].filter((value) => lastUse.get(value) === index);
    return { key, collective: collective ? nodes[0] : undefined, ...section.finish(outputs), spent };
  });
}

class SectionBuilder {
  /** Values that its operators make, in order. */
  readonly made: string[] = [];
  readonly specs = new Map<string, ValueSpec>();
  /** Name in the whole graph → name here. */
  private readonly names = new Map<string, string>();
  private readonly inputs = new Map<string, ValueSpec>();
  private readonly sources = new Map<string, string>();
  private readonly weights: WeightSlot[] = [];
  private readonly constants = new Map<string, Tensor>();
  private readonly nodes: GraphNode[] = [];

  constructor(
    private readonly graph: Graph,
    private readonly slots: ReadonlyMap<string, WeightSlot>,
    private readonly earlier: ReadonlyMap<string, ValueSpec>,
  ) {}

  add(node: GraphNode): void {
    const inputs = node.inputs.map((name) => (name === '' ? '' : (this.names.get(name) ?? this.take(name))));
    const outputs = node.outputs.map((name, i) => {
      const own = `v${this.made.push(name) - 1}`;
      this.names.set(name, own);
      this.specs.set(name, node.specs[i]!);
      return own;
    });
    this.nodes.push({ ...node, inputs, outputs });
  }

  finish(made: readonly string[]): Pick<Section<never>, 'graph' | 'inputs' | 'outputs'> {
    const { inputs, weights, constants, nodes, names, specs } = this;
    const outputs = new Map(
      made.map((value) => [names.get(value)!, { value: names.get(value)!, ...specs.get(value)! }]),
    );
    const named = new Map(
      this.made.flatMap((value) => {
        const known = this.graph.named?.get(value);
        return known === undefined ? [] : [[names.get(value)!, known] as const];
      }),
    );
    return {
      // Operations are counted for whole graphs only.
      graph: { inputs, weights, constants, nodes, outputs, flops: 0, named },
      inputs: this.sources,
      outputs: new Map(made.map((value) => [names.get(value)!, value])),
    };
  }

  /** Brings in what the section does not make itself. */
  private take(name: string): string {
    const own = this.declare(name);
    this.names.set(name, own);
    return own;
  }

  private declare(name: string): string {
    const weight = this.slots.get(name);
    if (weight) {
      const slot = `w${this.weights.length}`;
      this.weights.push({ ...weight, slot });
      return slot;
    }
    const constant = this.graph.constants.get(name);
    if (constant) {
      const own = `c${this.constants.size}`;
      this.constants.set(own, constant);
      return own;
    }
    const own = `i${this.inputs.size}`;
    const { dtype, shape } = this.graph.inputs.get(name) ?? this.earlier.get(name)!;
    this.inputs.set(own, { dtype, shape });
    this.sources.set(own, name);
    return own;
  }
}
