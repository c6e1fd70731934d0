/** Operators that bring an axis down to one number. Over an axis in parts, every rank reduces its own, and the ranks join the results. */
import { allReduce } from '../exchanges.ts';
import { type Layout, whole, withAxis } from '../layout.ts';
import { broadcastLayout, takeBroadcast } from './elementwise.ts';
import type { Rule } from './rules.ts';

export const reduceRule: Rule = (p, node) => {
  const [name, axes] = node.inputs as [string, string];
  const [axis] = p.integers(axes) as [number];
  const layout = p.layoutOf(name);
  const dealt = layout[axis];
  const kept = node.attributes['keepdims'] === 1;
  const after = kept ? withAxis(layout, axis, undefined) : layout.filter((_, i) => i !== axis);
  const x = p.take(name, layout);
  if (!dealt) {
    p.emit(node, { inputs: [x, p.take(axes, whole(1))], layouts: [after] });
    return;
  }
  const reduced = (): typeof x => {
    switch (node.op) {
      case 'ReduceMax':
        return allReduce(x.max(axis, kept), dealt.over, 'max');
      case 'ReduceSum':
        return allReduce(x.sum(axis, kept), dealt.over);
      case 'ReduceL2':
        return allReduce(x.mul(x).sum(axis, kept), dealt.over).sqrt();
      default:
        return allReduce(x.sum(axis, kept), dealt.over).mul(1 / p.shapeOf(name)[axis]!);
    }
  };
  p.define(node.outputs[0]!, after, reduced());
};

export const softmaxRule: Rule = (p, node) => {
  const [name] = node.inputs as [string];
  const axis = node.attributes['axis'] as number;
  const rank = p.shapeOf(name).length;
  const layout = withAxis(p.layoutOf(name), axis < 0 ? axis + rank : axis, undefined);
  p.emit(node, { inputs: [p.take(name, layout)], layouts: [layout] });
};

export const layerNormRule: Rule = (p, node) => {
  const [name, ...affine] = node.inputs as [string, ...string[]];
  const { shape } = node.specs[0]!;
  const layout = lastWhole(p.layoutOf(name));
  const inputs = [p.take(name, layout), ...affine.map((operand) => takeBroadcast(p, operand, { shape, layout }))];
  p.emit(node, { inputs, layouts: [layout] });
};

/** Across heads that are dealt out: every rank sums the squares of its own. */
export const rmsNormRule: Rule = (p, node) => {
  const [name, scale] = node.inputs as [string, string];
  const { shape } = node.specs[0]!;
  const layout = p.layoutOf(name);
  const dealt = layout.at(-1);
  const x = p.take(name, layout);
  const weight = p.take(scale, broadcastLayout(p.shapeOf(scale), { shape, layout }));
  if (!dealt) {
    p.emit(node, { inputs: [x, weight], layouts: [layout] });
    return;
  }
  const { float: epsilon } = node.attributes['epsilon'] as { float: number };
  const meanSquare = allReduce(x.mul(x).sum(-1), dealt.over).mul(1 / shape.at(-1)!);
  p.define(node.outputs[0]!, layout, x.div(meanSquare.add(epsilon).sqrt()).mul(weight));
};

const lastWhole = (layout: Layout): Layout => withAxis(layout, layout.length - 1, undefined);
