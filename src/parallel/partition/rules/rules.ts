/** Which rule an operator follows. */
import type { GraphNode } from '../../../graph/graph.ts';
import { whole } from '../layout.ts';
import type { Partition } from '../partition.ts';
import { attentionRule, rotaryRule } from './attention.ts';
import { elementwise, isElementwise } from './elementwise.ts';
import { convRule, gemmRule, int8Rule, matmulRule } from './products.ts';
import { layerNormRule, reduceRule, rmsNormRule, softmaxRule } from './reductions.ts';
import { concatRule, expandRule, gatherRule, reshapeRule, sliceRule, splitRule, transposeRule } from './shapes.ts';

/** Emits a node on this rank's parts, and defines its outputs. */
export type Rule = (p: Partition, node: GraphNode) => void;

const rules: Readonly<Record<string, Rule>> = {
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

export const findRule = (node: GraphNode): Rule => (isElementwise(node) ? elementwise : (rules[node.op] ?? onWholes));

/** Of operators that know no parts: every rank computes all of it. */
const onWholes: Rule = (p, node) => {
  const inputs = node.inputs.map((name) => (name === '' ? undefined : p.take(name, whole(p.shapeOf(name).length))));
  p.emit(node, { inputs, layouts: node.specs.map(({ shape }) => whole(shape.length)) });
};
