/**
 * Matrix products and convolutions. Where the summed axis of the input is in parts, a rank takes those columns of the weight and the ranks sum
 * their products ("row parallel" in Megatron's words, arXiv 1909.08053). Where the output may stay in parts, it takes some of the
 * weight's rows ("column parallel"). Quantised weights are cut by rows only, since their activations are rounded by what is in a whole row:
 * so every rank computes with the numbers that one process computes with.
 */
import type { GraphNode } from '../../../graph/graph.ts';
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { floatTensor } from '../../../tensor/tensor.ts';
import { channelSegments } from '../channels.ts';
import { allReduce } from '../exchanges.ts';
import { type Dealt, dealtAlong, evenly, type Layout, whole, withAxis } from '../layout.ts';
import type { Partition } from '../partition.ts';
import { jointLayout } from './elementwise.ts';
import type { Rule } from './rules.ts';

/** A product of something with a weight, wherever its axes are. */
interface Product {
  x: string;
  /** Axis of x that is summed over. */
  sumAxis: number;
  weight: string;
  weightIn: number;
  weightOut: number;
  /** Axis of the result that has the weight's rows. */
  outAxis: number;
  bias: string | undefined;
  /** Further inputs of which there is one number for every row. */
  perRow?: readonly string[];
  /** Whether sums of ranks are the sum. */
  summable: boolean;
  /** Of x, where not all of what it has in parts may stay so. */
  layout?: Layout;
}

/** As many rows of activations are so few that to compute them everywhere costs only the weight's memory. */
const fewRows = 8;

export const gemmRule: Rule = (p, node) => {
  const [x, weight, bias] = node.inputs as [string, string, string | undefined];
  if (!p.isStatic(weight) || (bias && !p.isStatic(bias))) return onRows(p, node);
  return weighted(p, node, { x, sumAxis: 1, weight, weightIn: 1, weightOut: 0, outAxis: 1, bias, summable: true });
};

export const int8Rule: Rule = (p, node) => {
  const [x, weight, scale, , bias] = node.inputs as [string, string, string, string, string | undefined];
  const product = {
    x,
    sumAxis: 1,
    weight,
    weightIn: 0,
    weightOut: 1,
    outAxis: 1,
    bias,
    perRow: [scale],
    summable: false,
  };
  return weighted(p, node, product);
};

export const matmulRule: Rule = (p, node) => {
  const [x, y] = node.inputs as [string, string];
  const [rank, otherRank] = [p.shapeOf(x).length, p.shapeOf(y).length];
  if (!p.isStatic(y) || otherRank !== 2) return matmul(p, node);
  const product = {
    sumAxis: rank - 1,
    weight: y,
    weightIn: 0,
    weightOut: 1,
    outAxis: rank - 1,
    bias: undefined,
    summable: true,
  };
  return weighted(p, node, { x, ...product });
};

function weighted(p: Partition, node: GraphNode, product: Product): void {
  const { x, sumAxis, weight, weightIn, weightOut, outAxis, bias, summable } = product;
  const own = product.layout ?? p.layoutOf(x);
  const cut = p.cutOf(node);
  const byPlan: Dealt | undefined =
    cut === 'rowwise'
      ? { over: 'tensor', segments: [evenly(p.shapeOf(x)[sumAxis]!, { parts: p.mesh.count('tensor') })] }
      : undefined;
  const sum = own[sumAxis] ?? byPlan;
  const rows = withAxis(own, sumAxis, undefined);
  const weightRank = p.shapeOf(weight).length;
  const free = !rows.some((dealt) => dealt?.over === 'tensor');
  if (sum?.over === 'tensor' && summable && isPlain(p, weight)) {
    const part = p.take(x, withAxis(rows, sumAxis, sum));
    const inputs = [part, p.take(weight, dealtAlong(weightRank, weightIn, sum))];
    const [partial] = p.apply(node, { inputs, layouts: [rows] });
    const total = allReduce(partial!, 'tensor');
    const added = bias ? total.add(alongAxis(p.take(bias, whole(1)), total.rank, outAxis)) : total;
    p.define(node.outputs[0]!, rows, added);
    return;
  }
  const width = p.shapeOf(weight)[weightOut]!;
  const channels = { axis: outAxis, input: p.shapeOf(weight)[weightIn]! };
  const stays =
    free && cut !== 'replicate' && cut !== 'rowwise' ? channelSegments(p, node.outputs[0]!, channels) : undefined;
  const parts = p.mesh.count('tensor');
  const isFew = p.shapeOf(x).reduce((size, dim, i) => (i === sumAxis ? size : size * dim), 1) <= fewRows;
  const isCut =
    free && cut !== 'replicate' && parts > 1 && width >= parts && (isFew || sum !== undefined || cut === 'colwise');
  const dealt: Dealt | undefined =
    stays ?? (isCut ? { over: 'tensor', segments: [evenly(width, { parts })] } : undefined);
  emitProduct(p, node, product, {
    x: p.take(x, rows),
    weight: p.take(weight, dealtAlong(weightRank, weightOut, dealt)),
    bias: bias && p.take(bias, [dealt]),
    layout: withAxis(rows, outAxis, dealt),
    rows: dealt,
  });
  if (!stays && dealt) p.settle(node.outputs[0]!, rows);
}

interface Operands {
  x: SymbolicTensor;
  weight: SymbolicTensor;
  bias: SymbolicTensor | '' | undefined;
  layout: Layout;
  /** How the weight's rows are cut. */
  rows: Dealt | undefined;
}

function emitProduct(p: Partition, node: GraphNode, product: Product, operands: Operands): void {
  const { x, weight, layout, rows } = operands;
  const bias = operands.bias || undefined;
  if (node.op !== 'DynamicQuantizeMatMul') {
    p.emit(node, { inputs: bias ? [x, weight, bias] : [x, weight], layouts: [layout] });
    return;
  }
  const [scaleName] = product.perRow as [string];
  const scale = p.take(scaleName, [p.shapeOf(scaleName)[0] === 1 ? undefined : rows]);
  const zero = node.inputs[3] ? p.take(node.inputs[3], []) : undefined;
  const others = p.layoutOf(product.x)[0];
  if (!others) {
    p.emit(node, { inputs: [x, weight, scale, zero, bias], layouts: [layout] });
    return;
  }
  // The operator rounds by the range of all its rows: a last row brings that of the other ranks along.
  const flat = x.reshape([-1]);
  const extremes = allReduce(concat([flat.max(0), flat.neg().max(0)], 0), others.over, 'max').mul(
    p.builder.constant(floatTensor([1, -1])),
  );
  const width = x.dim(1);
  const row = width === 2 ? extremes : concat([extremes, p.builder.constant(floatTensor([0])).expand([width - 2])], 0);
  const longer = concat([x, row.reshape([1, width])], 0);
  const [result] = p.builder.emitMany(node.op, [{ dtype: 'float32', shape: [longer.dim(0), weight.dim(1)] }], {
    inputs: [longer, weight, scale, zero, bias],
    attributes: node.attributes,
    domain: 'com.microsoft',
  });
  p.define(node.outputs[0]!, layout, result!.slice(0, 0, x.dim(0)));
}

function alongAxis(bias: SymbolicTensor, rank: number, axis: number): SymbolicTensor {
  return bias.reshape(Array.from({ length: rank }, (_, i) => (i === axis ? bias.dim(0) : 1)));
}

/** Whether a weight is stored as numbers, which can be cut anywhere. */
function isPlain(p: Partition, name: string): boolean {
  const node = p.makerOf(name);
  if (!node) return true;
  return (node.op === 'Cast' || node.op === 'BitCast') && isPlain(p, node.inputs[0]!);
}

/** Of two tensors that both depend on inputs. */
function matmul(p: Partition, node: GraphNode): void {
  const [x, y] = node.inputs as [string, string];
  const { shape } = node.specs[0]!;
  const rank = shape.length;
  const batch = jointLayout(p, shape, node.inputs).slice(0, rank - 2);
  const used = new Set(batch.map((dealt) => dealt?.over));
  const pick = (...candidates: (Dealt | undefined)[]): Dealt | undefined => {
    const found = candidates.find((dealt) => dealt && !used.has(dealt.over));
    if (found) used.add(found.over);
    return found;
  };
  const [ofX, ofY] = [p.layoutOf(x), p.layoutOf(y)];
  const sum = pick(ofX.at(-1), ofY.at(-2));
  const rows = pick(ofX.at(-2));
  const columns = pick(ofY.at(-1));
  const operand = (name: string, last: [Dealt | undefined, Dealt | undefined]): SymbolicTensor => {
    const own = p.shapeOf(name);
    const ahead = rank - own.length;
    const leading = own.slice(0, -2).map((dim, i) => (dim === shape[i + ahead] ? batch[i + ahead] : undefined));
    return p.take(name, [...leading, ...last]);
  };
  const layout = [...batch, rows, columns];
  const [product] = p.apply(node, { inputs: [operand(x, [rows, sum]), operand(y, [sum, columns])], layouts: [layout] });
  p.define(node.outputs[0]!, layout, sum ? allReduce(product!, sum.over) : product!);
}

/** A product with a matrix that is no weight: by rows. */
function onRows(p: Partition, node: GraphNode): void {
  const [x, weight, bias] = node.inputs as [string, string, string | undefined];
  const layout = [p.layoutOf(x)[0], undefined];
  const inputs = [p.take(x, layout), p.take(weight, whole(2))];
  if (bias) inputs.push(p.take(bias, p.shapeOf(bias).length === 2 ? layout : whole(1)));
  p.emit(node, { inputs, layouts: [layout] });
}

/** Channels as those of other products; the space that a kernel looks at is whole. */
export const convRule: Rule = (p, node) => {
  const [x, weight, bias] = node.inputs as [string, string, string | undefined];
  const groups = node.attributes['group'] as number;
  const all = (name: string, value: number) =>
    (node.attributes[name] as readonly number[]).every((each) => each === value);
  const isPointwise = all('kernel_shape', 1) && all('strides', 1) && all('pads', 0);
  const [ofX, ofWeight] = [p.shapeOf(x), p.shapeOf(weight)];
  const isDepthwise = groups > 1 && groups === ofX[1] && groups === ofWeight[0];
  const layout = p.layoutOf(x).map((dealt, axis) => {
    if (axis === 1) return dealt?.over === 'tensor' && (groups === 1 || isDepthwise) ? dealt : undefined;
    return axis === 0 || isPointwise ? dealt : undefined;
  });
  if (groups === 1) {
    const product = { x, sumAxis: 1, weight, weightIn: 1, weightOut: 0, outAxis: 1, bias, summable: true, layout };
    return weighted(p, node, product);
  }
  const channels = layout[1];
  const inputs = [p.take(x, layout), p.take(weight, dealtAlong(ofWeight.length, 0, channels))];
  if (bias) inputs.push(p.take(bias, [channels]));
  p.emit(node, { inputs, layouts: [layout], attributes: { group: channels ? p.local(ofX, layout)[1]! : groups } });
};
