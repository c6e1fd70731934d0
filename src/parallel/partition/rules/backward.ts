/** From the parts of a result that are asked for to the parts of the inputs that it takes: for what depends on weights alone. */
import type { GraphNode } from '../../../graph/graph.ts';
import { type Layout, reshapeLayout, whole } from '../layout.ts';
import type { Partition } from '../partition.ts';
import { broadcastLayout, isElementwise } from './elementwise.ts';

/** @returns undefined if the result has to be made whole */
export function backwardLayouts(p: Partition, node: GraphNode, layout: Layout): Layout[] | undefined {
  const { shape } = node.specs[0]!;
  const broadcast = (name: string): Layout => (name === '' ? [] : broadcastLayout(p.shapeOf(name), { shape, layout }));
  if (isElementwise(node)) return node.inputs.map(broadcast);
  const [first, second] = node.inputs as [string, string | undefined];
  const source = p.shapeOf(first);
  switch (node.op) {
    case 'Reshape': {
      const before = reshapeLayout(shape, layout, source);
      return before && [before, whole(1)];
    }
    case 'Expand':
      return [broadcast(first), whole(1)];
    case 'Transpose': {
      const order = node.attributes['perm'] as readonly number[];
      return [source.map((_, axis) => layout[order.indexOf(axis)])];
    }
    case 'QuantizeLinear':
      return node.inputs.map(broadcast);
    case 'DequantizeLinear':
      // One scale for every row.
      return [layout, [layout[0]], [layout[0]]];
    case 'Concat':
      return layout[node.attributes['axis'] as number] ? undefined : node.inputs.map(() => layout);
    case 'ReduceMax':
    case 'ReduceSum': {
      const [axis] = p.integers(second!);
      return node.attributes['keepdims'] === 1 && !layout[axis!] ? [layout, whole(1)] : undefined;
    }
    default:
      return undefined;
  }
}
