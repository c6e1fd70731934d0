/**
 * A graph in float16: half the memory, and on many devices twice the speed. Inputs and outputs keep their types. What stays float32: what
 * the caller says (a family knows where its numbers are large), operators that add up many numbers or undo small differences, constants
 * that float16 does not hold with all that takes them, and quotients by any of these.
 */
import { fromFloat32, toFloat32 } from '../tensor/convert.ts';
import type { DType } from '../tensor/dtype.ts';
import { Tensor } from '../tensor/tensor.ts';
import { onnxElementType } from './encode.ts';
import type { Graph, GraphNode } from './graph.ts';
import { domainOf, type Rewriting, rewriteGraph } from './rewrite.ts';
import type { SymbolicTensor } from './symbolic.ts';

/** Sums, and functions that are steep. (Norms and fused attention add up in float32 whatever they are given.) */
const preciseOps = new Set([
  'ReduceMean',
  'ReduceSum',
  'ReduceL2',
  'Softmax',
  'Exp',
  'Pow',
  'Sqrt',
  'Sin',
  'Cos',
  'CumSum',
  'DequantizeLinear',
  'QuantizeLinear',
  'DynamicQuantizeMatMul',
]);

/** Move numbers and do not change them, so they take them as they come. */
const movingOps = new Set(['Reshape', 'Transpose', 'Slice', 'Split', 'Expand', 'Gather', 'Concat', 'Identity', 'Pad']);

/** @param keeps whether an operator is to stay float32 */
export function toFloat16(graph: Graph, keeps: (node: GraphNode) => boolean): Graph {
  const casts = new Map<string, SymbolicTensor>();
  /** The values that an operator takes, floating-point ones in a type. */
  const inputsAs = ({ node, inputs, builder }: Rewriting, dtype: DType) =>
    inputs.map((input, i) => {
      if (!input || !isFloat(input.dtype) || input.dtype === dtype) return input;
      const key = `${input.name} ${dtype}`;
      let cast = casts.get(key);
      if (!cast) {
        const constant = graph.constants.get(node.inputs[i]!);
        cast = constant ? builder.constant(converted(constant, dtype)) : input.cast(dtype);
        casts.set(key, cast);
      }
      return cast;
    });
  return rewriteGraph(graph, (rewriting) => {
    const { node, inputs, builder } = rewriting;
    const isCast = node.op === 'Cast';
    // A weight that is held in float16, widened: whoever needs it so widens it.
    if (isCast && node.specs[0]!.dtype === 'float32' && inputs[0]!.dtype === 'float16') return [inputs[0]!];
    const dtype = typeOf(rewriting, graph, keeps);
    const specs = node.specs.map((spec) => (isFloat(spec.dtype) ? { ...spec, dtype } : spec));
    return builder.emitMany(node.op, specs, {
      inputs: isCast ? inputs : inputsAs(rewriting, dtype),
      attributes: isCast ? { to: onnxElementType(specs[0]!.dtype) } : { ...node.attributes },
      domain: domainOf(node),
    });
  });
}

function typeOf({ node, inputs }: Rewriting, { constants }: Graph, keeps: (node: GraphNode) => boolean): DType {
  if (movingOps.has(node.op)) return inputs.find((input) => input && isFloat(input.dtype))?.dtype ?? 'float32';
  const given = node.inputs.map((name) => constants.get(name));
  const isPrecise = keeps(node) || preciseOps.has(node.op) || given.some((constant) => constant && isBeyond(constant));
  const byFloat32 = node.op === 'Div' && !given[1] && inputs[1]!.dtype === 'float32';
  return isPrecise || byFloat32 ? 'float32' : 'float16';
}

function isFloat(dtype: DType): boolean {
  return dtype === 'float32' || dtype === 'float16';
}

/** Whether float16 would make a constant 0 or infinite. */
function isBeyond(constant: Tensor): boolean {
  if (constant.dtype !== 'float32') return false;
  return constant.f32.some((value) => value !== 0 && Number.isFinite(value) && !isHeld(value));
}

const [smallest, largest] = [2 ** -14, 65504];

function isHeld(value: number): boolean {
  const magnitude = Math.abs(value);
  return magnitude >= smallest && magnitude <= largest;
}

function converted({ dtype, data, shape }: Tensor, to: DType): Tensor {
  return new Tensor(to, fromFloat32(to, toFloat32(dtype, data)), shape);
}
