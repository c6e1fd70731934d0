/**
 * Products with quantised weights: one function per format, chosen by how a layer's weight is stored. A model does not know of
 * them: it calls `linear`. What the parts of a format hold is written in `weights/formats/weight-format.ts`.
 */
import {
  concat,
  dequantize,
  dynamicQuantizeMatMul,
  gather,
  gemm,
  type Int8Operand,
  quantizeToInt8,
} from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import type { LowBitProduct } from '../runtime/backend.ts';
import { dims, floatTensor, type Shape, Tensor } from '../tensor/tensor.ts';
import { unsignedZero } from '../weights/formats/held-parts.ts';
import {
  type FormatKind,
  type FormatOf,
  nvfp4BlockSize,
  tileSize,
  type WeightFormat,
} from '../weights/formats/weight-format.ts';

/** A weight [out, in] in parts. */
export interface QuantizedWeight<Format extends WeightFormat = WeightFormat> {
  readonly format: Format;
  readonly shape: Shape;
  /** How the backend multiplies codes in blocks. */
  readonly product: LowBitProduct;
  /** A stored tensor; float8 comes as uint8, since it cannot be a graph input. */
  part(name: string): SymbolicTensor;
}

/** x [rows, in] · weightᵀ + bias. */
type Multiply<Format extends WeightFormat> = (
  x: SymbolicTensor,
  weight: QuantizedWeight<Format>,
  bias?: SymbolicTensor,
) => SymbolicTensor;

const multiply: { [Kind in FormatKind]: Multiply<FormatOf<Kind>> } = {
  int8(x, { format, part }, bias) {
    const codes = part('codes');
    const zeroPoint = codes.dtype === 'uint8' ? unsignedZero : undefined;
    const weight = { codes, scale: part('scale'), zeroPoint };
    switch (format.activations) {
      case 'tensor':
        return eachShare(x, (share) => dynamicQuantizeMatMul(share, { ...weight, bias }));
      case 'row':
        return plus(rowwiseProduct(x, weight), bias);
      case 'float32':
        return plus(x.matmul(weight.codes.cast('float32')).mul(weight.scale), bias);
    }
  },

  block(x, { format: { bits, blockSize }, product, part }, bias) {
    const [codes, scale] = [part('codes'), part('scale')];
    const columns = withZeros(x, codes.dim(1) * blockSize);
    if (product === 'nbits') return blockProduct(columns, { codes, scale, bits, bias });
    if (bits === 4) return fourBitProduct(columns, { codes, scale, bias });
    const [out, blocks, bytes] = dims(codes, 3);
    const flat = { scale: scale.reshape([out * blocks]), zeroPoint: 128 };
    const weight = dequantize(codes.reshape([out * blocks, bytes]), flat).reshape([out, blocks * bytes]);
    return gemm(columns, weight, bias);
  },

  affine(x, { format: { bits, blockSize }, shape, product, part }, bias) {
    const codes = part('codes');
    const [out, blocks] = dims(codes, 3);
    if (product === 'nbits') {
      const columns = bits === 4 ? firstAndSecondHalf(x, blockSize) : x;
      const scaled = blockProduct(columns, { codes, scale: part('scale'), bits, zeroPoint: 0, bias });
      // What is added to all weights of a block is multiplied with the sum of its inputs.
      return scaled.add(gemm(x.reshape([x.dim(0), blocks, blockSize]).sum(-1, false), part('offset')));
    }
    const values = bits === 8 ? codes : concat([bitAnd(codes, 0x0f), bitShift(codes, 'RIGHT')], 2);
    const each = (name: string) => part(name).reshape([out, blocks, 1]);
    const weight = values.cast('float32').mul(each('scale')).add(each('offset'));
    return gemm(x, weight.reshape(shape), bias);
  },

  table(x, { shape, part }, bias) {
    const [codes, scale] = [part('codes'), part('scale')];
    const [out, blocks] = dims(codes, 3);
    // Both numbers of a byte are looked up at once: a table of 256 pairs is as quick as one of 16 numbers, for half as many look-ups.
    const halves = Int32Array.from({ length: 512 }, (_, i) => (i % 2 === 0 ? i >> 5 : (i >> 1) & 15));
    const pairs = gather(part('table'), x.graph.constant(new Tensor('int32', halves, [256, 2])));
    const values = gather(pairs, codes.cast('int32')).reshape([out, blocks, -1]);
    return gemm(x, values.mul(scale.reshape([out, blocks, 1])).reshape(shape), bias);
  },

  /** Arithmetic in float32 on values that float8 hardware would see. */
  float8(x, { format, part }, bias) {
    const { values, unit } = smallFloats(part('codes'), 4);
    const [out, inner] = dims(values, 2);
    const scale = part('scale').mul(unit);
    const weight =
      format.scales === 'tile'
        ? values
            .reshape([out / tileSize, tileSize, inner / tileSize, tileSize])
            .mul(scale.reshape([out / tileSize, 1, inner / tileSize, 1]))
            .reshape([out, inner])
        : values.mul(scale);
    return gemm(roundToFloat8(x, format.activations), weight, bias);
  },

  nvfp4(x, { part }, bias) {
    const codes = part('codes');
    // s ee m 0000: a float of 2 exponent bits whose last mantissa bits are zero.
    const { values, unit } = smallFloats(concat([bitShift(codes, 'LEFT'), bitAnd(codes, 0xf0)], 1), 2);
    const blockScale = smallFloats(part('blockScale'), 4);
    const scale = blockScale.values.mul(part('scale').mul(unit * blockScale.unit));
    const [out, inner] = dims(values, 2);
    const blocks = inner / nvfp4BlockSize;
    const weight = values.reshape([out, blocks, nvfp4BlockSize]).mul(scale.reshape([out, blocks, 1]));
    return gemm(x, weight.reshape([out, inner]), bias);
  },

  'low-rank'(x, { format: { rank, smooth, residual }, shape, product, part }, bias) {
    const smoothed = smooth ? x.div(part('smooth')) : x;
    const rest = quantizedProduct(smoothed, { format: residual, shape, product, part }, bias);
    if (rank === 0) return rest;
    const down = gemm(smoothed, part('down').cast('float32'));
    return rest.add(gemm(down, part('up').cast('float32')));
  },
};

/** x [rows, in] · weightᵀ + bias, with the operators of the weight's format. */
export function quantizedProduct(x: SymbolicTensor, weight: QuantizedWeight, bias?: SymbolicTensor): SymbolicTensor {
  const emit = multiply[weight.format.kind] as Multiply<WeightFormat>;
  return emit(x, weight, bias);
}

/** With all rows brought to the range -1…1, the operator's one scale for all rows is a scale for each. */
function rowwiseProduct(x: SymbolicTensor, weight: Int8Operand): SymbolicTensor {
  const span = magnitude(x);
  return eachShare(x.div(span), (share) => dynamicQuantizeMatMul(share, weight)).mul(span);
}

/**
 * x [rows, in] times 4-bit codes [out, blocks, bytes] of a scale each, through a product of integers: codes are widened to 8 bits of
 * a scale for each output, and activations rounded to 8 bits for each row. Both roundings are small beside that to 4 bits.
 *
 * Of the 8 bits 7 are used, magnitudes up to 64: two products of 255 and 64 fit the 16 bits in which some processors add them, so
 * signed codes are exact on all. (MatMulNBits multiplies no faster than float32 even with weights that it knows when it compiles, and
 * takes twice as long without.)
 */
function fourBitProduct(
  x: SymbolicTensor,
  { codes, scale, bias }: { codes: SymbolicTensor; scale: SymbolicTensor; bias: SymbolicTensor | undefined },
): SymbolicTensor {
  const [out, blocks, bytes] = dims(codes, 3);
  // The largest code is 8, so 8 of these are the largest number of a row, and become 64.
  const unit = scale
    .max(1)
    .mul(1 / 8)
    .clamp(1e-30, undefined);
  const flat = { scale: scale.div(unit).reshape([out * blocks]), zeroPoint: 8 };
  const widen = (halves: SymbolicTensor) => quantizeToInt8(dequantize(halves, flat)).reshape([out, blocks * bytes]);
  const packed = codes.reshape([out * blocks, bytes]);
  // Turned once both halves are together: ONNX Runtime's optimiser would do so too, with new nodes that come before all products.
  const wide = concat([widen(bitAnd(packed, 0x0f)), widen(bitShift(packed, 'RIGHT'))], 1).transpose([1, 0]);
  return plus(rowwiseProduct(evenThenOdd(x), { codes: wide, scale: unit.reshape([out]) }), bias);
}

/** x [rows, in] times codes [out, blocks, bytes] of a scale each, without rounding x. */
function blockProduct(
  x: SymbolicTensor,
  { codes, scale, bits, zeroPoint, bias }: BlockOperand & { bias: SymbolicTensor | undefined },
): SymbolicTensor {
  const [out, blocks, bytes] = dims(codes, 3);
  const { graph } = x;
  graph.countFlops(2 * x.dim(0) * x.dim(1) * out);
  const zeros =
    zeroPoint === undefined
      ? undefined
      : graph
          .constant(new Tensor('uint8', Uint8Array.of(zeroPoint), [1, 1]))
          .expand([out, Math.ceil((blocks * bits) / 8)]);
  return graph.emit(
    'MatMulNBits',
    { dtype: x.dtype, shape: [x.dim(0), out] },
    {
      inputs: [x, codes, scale.reshape([out, blocks]), zeros, undefined, bias],
      // Left out, the level would be to round activations to 8 bits for each block.
      attributes: { K: x.dim(1), N: out, bits, block_size: (bytes * 8) / bits, accuracy_level: 1 },
      domain: 'com.microsoft',
    },
  );
}

interface BlockOperand {
  codes: SymbolicTensor;
  scale: SymbolicTensor;
  bits: 4 | 8;
  /** The code that stands for 0. Default: the middle one. */
  zeroPoint?: 0;
}

/** Columns of every block in the order 0, n/2, 1, n/2 + 1, …: those whose codes share a byte stand together. */
function firstAndSecondHalf(x: SymbolicTensor, blockSize: number): SymbolicTensor {
  const [rows, columns] = dims(x, 2);
  return x
    .reshape([rows, columns / blockSize, 2, blockSize / 2])
    .transpose([0, 1, 3, 2])
    .reshape([rows, columns]);
}

function plus(x: SymbolicTensor, bias: SymbolicTensor | undefined): SymbolicTensor {
  return bias ? x.add(bias) : x;
}

/** Half a byte to the left or right. */
function bitShift(codes: SymbolicTensor, direction: 'LEFT' | 'RIGHT'): SymbolicTensor {
  return codes.graph.emit('BitShift', codes, { inputs: [codes, byte(codes, 4)], attributes: { direction } });
}

function bitAnd(codes: SymbolicTensor, mask: number): SymbolicTensor {
  return codes.graph.emit('BitwiseAnd', codes, { inputs: [codes, byte(codes, mask)] });
}

function byte({ graph }: SymbolicTensor, value: number): SymbolicTensor {
  return graph.constant(new Tensor('uint8', Uint8Array.of(value), []));
}

/** x [rows, in] with columns of zeros up to `width`. */
function withZeros(x: SymbolicTensor, width: number): SymbolicTensor {
  const [rows, columns] = dims(x, 2);
  if (columns === width) return x;
  const zero = x.graph.constant(floatTensor([0])).expand([rows, width - columns]);
  return concat([x, zero], 1);
}

/** Columns 0, 2, 4, … and then 1, 3, 5, …, as the low and high halves of bytes hold them. */
function evenThenOdd(x: SymbolicTensor): SymbolicTensor {
  const [rows, columns] = dims(x, 2);
  return x
    .reshape([rows, columns / 2, 2])
    .transpose([0, 2, 1])
    .reshape([rows, columns]);
}

/** max |x| of each row [rows, 1]; rows of zeros get a value that can be divided by. */
function magnitude(x: SymbolicTensor): SymbolicTensor {
  return x.abs().max().clamp(1e-30, undefined);
}

/** With the rows of each request by themselves, where an operator's one scale for all rows would depend on those of others. */
function eachShare(x: SymbolicTensor, compute: (share: SymbolicTensor) => SymbolicTensor): SymbolicTensor {
  const { shares } = x.graph;
  // What all requests have in common, such as a table of positions, has rows of no one.
  if (shares === 1 || x.dim(0) % shares !== 0) return compute(x);
  return concat(x.split(0, shares).map(compute), 0);
}

/** Largest value of float8 e4m3. */
const float8Max = 448;

function roundToFloat8(x: SymbolicTensor, activations: FormatOf<'float8'>['activations']): SymbolicTensor {
  const [rows, inner] = dims(x, 2);
  const round = (values: SymbolicTensor, peak: SymbolicTensor) => {
    const scale = peak.mul(1 / float8Max);
    return values.div(scale).cast('float8_e4m3fn').cast('float32').mul(scale);
  };
  switch (activations) {
    case 'float32':
      return x;
    case 'row':
      return round(x, magnitude(x));
    case 'tensor':
      return eachShare(x, (share) => round(share, magnitude(share).max(0)));
    case 'tile': {
      const tiles = x.reshape([rows * (inner / tileSize), tileSize]);
      return round(tiles, magnitude(tiles)).reshape([rows, inner]);
    }
  }
}

/**
 * Bytes of one sign bit, some exponent bits and mantissa bits as float32. The bits are moved to where float16 has them, which
 * leaves its larger exponent bias to be made up for: the numbers meant are `values · unit`.
 */
function smallFloats(bytes: SymbolicTensor, exponentBits: number): { values: SymbolicTensor; unit: number } {
  const { graph } = bytes;
  const word = (value: number) => graph.constant(new Tensor('int16', Int16Array.of(value), []));
  const shift = 3 + exponentBits;
  const wide = bytes.bitCast('int8').cast('int16'); // the sign fills the upper byte
  const bits = graph.emit('BitwiseAnd', wide, {
    inputs: [graph.emit('Mul', wide, { inputs: [wide, word(2 ** shift)] }), word(0x8000 | (0x7f << shift))],
  });
  const bias = 2 ** (exponentBits - 1) - 1;
  return { values: bits.bitCast('float16').cast('float32'), unit: 2 ** (15 - bias) };
}
