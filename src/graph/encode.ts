/**
 * Graph → ONNX model bytes. Nothing else in the engine knows the ONNX file format.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { DType } from '../tensor/dtype.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { AttributeValue, Graph, GraphNode, ValueSpec } from './graph.ts';
import { ProtoWriter } from './onnx-proto.ts';

/** ONNX's TensorProto.DataType numbers. */
const elementTypes: Record<DType, number> = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  bfloat16: 16,
  float8_e4m3fn: 17,
  float8_e5m2: 19,
};

export function onnxElementType(dtype: DType): number {
  return elementTypes[dtype];
}

/**
 * Opset 23 has everything we emit and kernels on every execution provider; only BitCast needs 26, for which some
 * providers have no kernels of the re-versioned basic operators yet.
 */
const BASE_OPSET = 23;
const BITCAST_OPSET = 26;

export interface EncodeOptions {
  /** Write module paths as node names. Leave out to get bytes that depend on the structure alone (a cache key). */
  nodeNames: boolean;
}

/** The graph as a serialised ONNX ModelProto. */
export function encodeOnnx(graph: Graph, { nodeNames }: EncodeOptions): Uint8Array {
  const opset = graph.nodes.some((node) => node.op === 'BitCast') ? BITCAST_OPSET : BASE_OPSET;
  return new ProtoWriter()
    .integer(1, opset === BITCAST_OPSET ? 13 : 11) // ir_version
    .string(2, 'deja-dit')
    .message(7, (out) => {
      executionOrder(graph).forEach((node, index) => {
        out.message(1, (inner) => writeNode(inner, node, nodeNames ? `${node.path}/${node.op}.${index}` : ''));
      });
      out.string(2, 'span');
      for (const [name, tensor] of graph.constants) out.message(5, (inner) => writeTensor(inner, name, tensor));
      for (const [name, spec] of graph.inputs) out.message(11, (inner) => writeValueInfo(inner, name, spec));
      for (const weight of graph.weights) out.message(11, (inner) => writeValueInfo(inner, weight.slot, weight));
      for (const spec of graph.outputs.values()) out.message(12, (inner) => writeValueInfo(inner, spec.value, spec));
    })
    .message(8, (out) => out.integer(2, opset))
    .message(8, (out) => out.string(1, 'com.microsoft').integer(2, 1))
    .finish();
}

/** A model that hands out its input `x`, of any shape, as `y`. */
export function encodeIdentity(dtype: DType): Uint8Array {
  const value = (name: string) => (out: ProtoWriter) =>
    out
      .string(1, name)
      .message(2, (type) => type.message(1, (tensorType) => tensorType.integer(1, elementTypes[dtype])));
  return new ProtoWriter()
    .integer(1, 11)
    .message(7, (out) => {
      out.message(1, (node) => node.string(1, 'x').string(2, 'y').string(4, 'Identity'));
      out.string(2, 'identity').message(11, value('x')).message(12, value('y'));
    })
    .message(8, (out) => out.integer(2, BASE_OPSET))
    .finish();
}

/**
 * Nodes that depend on weights alone come first. ONNX Runtime visits a node's inputs from the last written to the first: so a weight is
 * widened just before the product that takes it, and not all of them before the first product, at float32's size in memory.
 */
function executionOrder({ nodes, inputs }: Graph): GraphNode[] {
  const variable = new Set(inputs.keys());
  const [still, moving]: [GraphNode[], GraphNode[]] = [[], []];
  for (const node of nodes) {
    const varies = node.inputs.some((name) => variable.has(name));
    if (varies) for (const output of node.outputs) variable.add(output);
    (varies ? moving : still).push(node);
  }
  return [...still, ...moving];
}

function writeNode(out: ProtoWriter, node: GraphNode, name: string): void {
  const utf8 = new TextEncoder();
  for (const input of node.inputs) out.blob(1, utf8.encode(input));
  for (const output of node.outputs) out.blob(2, utf8.encode(output));
  out.string(3, name).string(4, node.op);
  for (const [key, value] of Object.entries(node.attributes)) {
    out.message(5, (inner) => writeAttribute(inner.string(1, key), value));
  }
  out.string(7, node.domain);
}

/** AttributeProto.type: FLOAT 1, INT 2, STRING 3, INTS 7. A bare number is an integer; floats are written `{ float }`. */
function writeAttribute(out: ProtoWriter, value: AttributeValue): void {
  if (typeof value === 'number') {
    if (!Number.isInteger(value)) throw new DejaDitError('INVALID_ARGUMENT', `attribute ${value} is not an integer`);
    out.integer(3, value, true).integer(20, 2);
  } else if (typeof value === 'string') out.blob(4, new TextEncoder().encode(value)).integer(20, 3);
  else if ('float' in value) out.float(2, value.float).integer(20, 1);
  else {
    for (const entry of value) out.integer(8, entry, true);
    out.integer(20, 7);
  }
}

function writeTensor(out: ProtoWriter, name: string, tensor: Tensor): void {
  out.packedIntegers(1, tensor.shape).integer(2, elementTypes[tensor.dtype]).string(8, name);
  const { buffer, byteOffset, byteLength } = tensor.data;
  out.blob(9, new Uint8Array(buffer, byteOffset, byteLength));
}

function writeValueInfo(out: ProtoWriter, name: string, spec: ValueSpec): void {
  out.string(1, name).message(2, (type) => {
    type.message(1, (tensorType) => {
      tensorType.integer(1, elementTypes[spec.dtype]).message(2, (shape) => {
        for (const dim of spec.shape) shape.message(1, (inner) => inner.integer(1, dim, true));
      });
    });
  });
}
