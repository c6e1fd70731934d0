/**
 * Lowering: operators that a device has no kernel for, or a wrong one, become others that it has. Graphs are built without a thought
 * of devices; a backend lowers them when it compiles. What a device can do is found out in `runtime/`.
 */
import type { Graph } from '../graph.ts';
import { type Rewriting, rewriteGraph } from '../rewrite.ts';
import type { SymbolicTensor } from '../symbolic.ts';
import { explicitAttention } from './attention.ts';
import { affineFreeNorm } from './norms.ts';
import { cosine, sine } from './trigonometry.ts';

/** What of the operators in `ops.ts` a device computes, and computes right. */
export interface Kernels {
  /** MultiHeadAttention as one operator. Otherwise products and a softmax, for some queries at a time. */
  readonly fusedAttention: boolean;
  /** Norms whose scale and bias differ between samples or tokens. Otherwise a plain norm, a product and a sum. */
  readonly broadcastNorm: boolean;
  /** Sin and Cos. Otherwise polynomials. */
  readonly trigonometry: boolean;
  /** Outputs of a Split, at most. What has more becomes Slices. */
  readonly maxSplit: number;
  /** Slices of integers. Otherwise one part of a Split. */
  readonly integerSlice: boolean;
  /** Casts to bfloat16 and back, by which numbers are rounded. Otherwise they are rounded by arithmetic. */
  readonly bfloat16Casts: boolean;
  /** Bytes of the largest tensor that an operator reads or writes. Attention is cut so that its scores stay below. */
  readonly maxBinding: number;
}

/** Of processors: everything. */
export const allKernels: Kernels = {
  fusedAttention: true,
  broadcastNorm: true,
  trigonometry: true,
  integerSlice: true,
  bfloat16Casts: true,
  maxSplit: Number.POSITIVE_INFINITY,
  maxBinding: Number.POSITIVE_INFINITY,
};

interface Rule {
  /** Whether there is anything to replace on a device of these kernels. */
  needed(kernels: Kernels): boolean;
  /** Undefined where this operator may stay. */
  replace(rewriting: Rewriting, kernels: Kernels): SymbolicTensor[] | undefined;
}

const rules: Readonly<Record<string, Rule>> = {
  LayerNormalization: {
    needed: ({ broadcastNorm }) => !broadcastNorm,
    replace: affineFreeNorm,
  },
  MultiHeadAttention: {
    needed: ({ fusedAttention }) => !fusedAttention,
    replace: explicitAttention,
  },
  Split: {
    needed: ({ maxSplit }) => maxSplit < Number.POSITIVE_INFINITY,
    replace: slices,
  },
  Cast: { needed: ({ bfloat16Casts }) => !bfloat16Casts, replace: roundedToBfloat16 },
  Slice: { needed: ({ integerSlice }) => !integerSlice, replace: partOfSplit },
  Sin: { needed: ({ trigonometry }) => !trigonometry, replace: ({ inputs: [x] }) => [sine(x!)] },
  Cos: { needed: ({ trigonometry }) => !trigonometry, replace: ({ inputs: [x] }) => [cosine(x!)] },
};

/** The graph in operators that a device of these kernels has; the same object where there is nothing to replace. */
export function lower(graph: Graph, kernels: Kernels): Graph {
  const active = new Map(Object.entries(rules).filter(([, rule]) => rule.needed(kernels)));
  if (!graph.nodes.some(({ op }) => active.has(op))) return graph;
  return rewriteGraph(graph, (rewriting) => active.get(rewriting.node.op)?.replace(rewriting, kernels));
}

/** Undefined for other casts. The way back finds numbers that are rounded already. */
function roundedToBfloat16({ node, inputs: [x] }: Rewriting): SymbolicTensor[] | undefined {
  const { dtype } = node.specs[0]!;
  if (dtype === x!.dtype) return [x!];
  if (dtype !== 'bfloat16') return undefined;
  // float16 has less range and more digits: what was float32 before is rounded enough.
  if (x!.dtype === 'float16') return [x!];
  // Veltkamp's splitting: of 24 bits the upper 8 remain.
  const scaled = x!.mul(2 ** 16 + 1);
  return [scaled.sub(scaled.sub(x!))];
}

/** Of integers; undefined for others. */
function partOfSplit({ graph, node, inputs: [x] }: Rewriting): SymbolicTensor[] | undefined {
  if (!x!.dtype.includes('int')) return undefined;
  const [from, to, axis] = node.inputs.slice(1).map((name) => Number(graph.constants.get(name)!.data[0]));
  const sizes = [from!, to! - from!, x!.dim(axis!) - to!];
  const parts = x!.split(
    axis!,
    sizes.filter((size) => size > 0),
  );
  return [parts[from! > 0 ? 1 : 0]!];
}

function slices({ node, inputs: [x] }: Rewriting, { maxSplit }: Kernels): SymbolicTensor[] | undefined {
  if (node.outputs.length <= maxSplit) return undefined;
  const axis = node.attributes['axis'] as number;
  let from = 0;
  return node.specs.map(({ shape }) => {
    const to = from + shape[axis]!;
    const part = x!.slice(axis, from, to);
    from = to;
    return part;
  });
}
