/** Operators on elements: what one operand has in parts, the others are cut to. */
import type { GraphNode } from '../../../graph/graph.ts';
import type { Shape } from '../../../tensor/tensor.ts';
import type { Dealt, Layout } from '../layout.ts';
import type { Partition } from '../partition.ts';
import type { Rule } from './rules.ts';

/** Operators that treat all elements alike, each for itself. */
const ops = new Set([
  ...[
    'Add',
    'Sub',
    'Mul',
    'Div',
    'Pow',
    'Greater',
    'Equal',
    'And',
    'Where',
    'Neg',
    'Abs',
    'Exp',
    'Log',
    'Sqrt',
    'Sin',
    'Cos',
  ],
  ...['Tanh', 'Sigmoid', 'Relu', 'QuickGelu', 'Gelu', 'Clip', 'Cast', 'BitCast', 'BitShift', 'BitwiseAnd', 'Identity'],
]);

export const isElementwise = ({ op }: GraphNode): boolean => ops.has(op);

export const elementwise: Rule = (p, node) => {
  const { shape } = node.specs[0]!;
  const layout = jointLayout(p, shape, node.inputs);
  const inputs = node.inputs.map((name) => takeBroadcast(p, name, { shape, layout }));
  p.emit(node, { inputs, layouts: [layout] });
};

/** An operand that broadcasts to a shape, in the parts that belong to the shape's. */
export function takeBroadcast(p: Partition, name: string, { shape, layout }: { shape: Shape; layout: Layout }) {
  return name === '' ? undefined : p.take(name, broadcastLayout(p.shapeOf(name), { shape, layout }));
}

/** What of a layout of `target` concerns an operand that broadcasts to it. */
export function broadcastLayout(operand: Shape, { shape, layout }: { shape: Shape; layout: Layout }): Layout {
  const ahead = shape.length - operand.length;
  return operand.map((dim, i) => (dim === shape[i + ahead] ? layout[i + ahead] : undefined));
}

/** The layout of a result whose operands broadcast: every axis as the first operand has it that has it in parts. */
export function jointLayout(p: Partition, shape: Shape, names: readonly string[]): Layout {
  const used = new Set<string>();
  return shape.map((dim, axis) => {
    for (const name of names) {
      if (name === '') continue;
      const at = axis - (shape.length - p.shapeOf(name).length);
      const dealt: Dealt | undefined = at >= 0 && p.shapeOf(name)[at] === dim ? p.layoutOf(name)[at] : undefined;
      if (!dealt || used.has(dealt.over)) continue;
      used.add(dealt.over);
      return dealt;
    }
    return undefined;
  });
}
