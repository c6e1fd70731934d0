/** Which rule an operator follows. */
import type { GraphNode } from '../../../graph/graph.ts';
import { whole } from '../layout.ts';
import type { Partition } from '../partition.ts';
import { attentionRule, rotaryRule } from './attention.ts';
import { elementwise } from './elementwise.ts';
import { convRule, gemmRule, int8Rule, matmulRule } from './products.ts';
import { layerNormRule, reduceRule, rmsNormRule, softmaxRule } from './reductions.ts';
import { concatRule, expandRule, gatherRule, reshapeRule, sliceRule, splitRule, transposeRule } from './shapes.ts';

/** Emits a node on this rank's parts, and defines its outputs. */
export type Rule = (p: Partition, node: GraphNode) => void;

const elementwiseOps = [
  ...['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Greater', 'Equal', 'And', 'Where', 'Neg', 'Abs', 'Exp', 'Log', 'Sqrt', 'Sin', 'Cos'],
  ...['Tanh', 'Sigmoid', 'Relu', 'QuickGelu', 'Gelu', 'Clip', 'Cast', 'BitCast', 'BitShift', 'BitwiseAnd', 'Identity'],
];

const rules: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(elementwiseOps.map((op) => [op, elementwise])),
  Reshape: reshapeRule,
  Transpose: transposeRule,
  Expand: expandRule,
  Concat: concatRule,
  Split: splitRule,
  Slice: sliceRule,
  Gather: gatherRule,
  Gemm: gemmRule,
  MatMul: matmulRule,
  DynamicQuantizeMatMul: int8Rule,
  Conv: convRule,
  ReduceMean: reduceRule,
  ReduceSum: reduceRule,
  ReduceMax: reduceRule,
  ReduceL2: reduceRule,
  Softmax: softmaxRule,
  LayerNormalization: layerNormRule,
  RMSNormalization: rmsNormRule,
  RotaryEmbedding: rotaryRule,
  MultiHeadAttention: attentionRule,
};

export const findRule = ({ op }: GraphNode): Rule => rules[op] ?? onWholes;

/** Of operators that know no parts: every rank computes all of it. */
const onWholes: Rule = (p, node) => {
  const inputs = node.inputs.map((name) => (name === '' ? undefined : p.take(name, whole(p.shapeOf(name).length))));
  p.emit(node, { inputs, layouts: node.specs.map(({ shape }) => whole(shape.length)) });
};

/** Whether an operator treats all elements alike, each for itself. */
export const isElementwise = ({ op }: GraphNode): boolean => rules[op] === elementwise;
