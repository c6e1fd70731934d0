/**
 * How a weight matrix [out, in] is held in fewer bits: which formats there are, and which stored tensors ("parts") each is made
 * of. Making the parts is up to `quantize/`, computing with them to `nn/quantized-linear.ts`.
 */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { bytesPerElement, type DType } from '../../tensor/dtype.ts';
import { dims, type Shape, sizeOf } from '../../tensor/tensor.ts';

/** What shares a scale: a row (an output feature of a weight, a token of activations), or everything. */
const granularity = z.enum(['row', 'tensor']);

/** Symmetric int8 codes. Activations are rounded to 8 bits at run time, or not at all. */
const int8 = z.strictObject({
  kind: z.literal('int8'),
  scales: granularity,
  activations: z.enum(['row', 'tensor', 'float32']),
});

/**
 * Symmetric 4- or 8-bit codes with a scale for every block of inputs, in the layout of ONNX Runtime's MatMulNBits. Beside 4-bit codes
 * activations are rounded to 8 bits for each token at run time.
 */
const block = z.strictObject({
  kind: z.literal('block'),
  bits: z.literal([4, 8]),
  blockSize: z.literal([16, 32, 64, 128]),
});

/**
 * Codes of 4 or 8 bits, unsigned, with a scale and an offset for every block of inputs: scale · code + offset. What GGUF's blocks are
 * held as; nothing here encodes to it. Of 4-bit codes the low halves of a block's bytes are its first inputs.
 */
const affine = z.strictObject({
  kind: z.literal('affine'),
  bits: z.literal([4, 8]),
  blockSize: z.literal([16, 32]),
});

/** Numbers that may share a scale where a table says what codes of 4 bits stand for. */
export const fourBitBlockSizes = [32, 64, 128, 256, 512, 1024, 2048, 4096] as const;

/**
 * Codes of 4 bits with a scale for every block of inputs: scale · table[code]. What bitsandbytes' NF4 and FP4 are held as; nothing here
 * encodes to it. The earlier of two codes is in the high half of its byte.
 */
const table = z.strictObject({
  kind: z.literal('table'),
  blockSize: z.literal(fourBitBlockSizes),
});

/** float8 e4m3 codes. A `tile` is 128 × 128 weights, or 128 inputs of a token. */
const float8 = z.strictObject({
  kind: z.literal('float8'),
  scales: z.enum(['row', 'tensor', 'tile']),
  activations: z.enum(['row', 'tensor', 'tile', 'float32']),
});

/** 4-bit floats (e2m1) with a float8 scale for every 16 inputs, and a float32 scale for these scales. */
const nvfp4 = z.strictObject({ kind: z.literal('nvfp4'), scales: granularity });

/** SVDQuant (arXiv 2411.05007): the weight, smoothed, is a low-rank product plus a 4-bit residual. */
const lowRank = z.strictObject({
  kind: z.literal('low-rank'),
  /** 0 leaves the low-rank branch out. */
  rank: z.int().min(0),
  /** Whether every input is divided by a factor of its own. */
  smooth: z.boolean(),
  residual: z.discriminatedUnion('kind', [block, nvfp4, table]),
  /** Of the low-rank product. Default float16; what is read from other programs keeps all its digits. */
  branch: z.enum(['float16', 'float32']).optional(),
});

const weightFormat = z.discriminatedUnion('kind', [int8, block, affine, table, float8, nvfp4, lowRank]);

export type WeightFormat = Readonly<z.infer<typeof weightFormat>>;
export type FormatKind = WeightFormat['kind'];
export type FormatOf<Kind extends FormatKind> = Extract<WeightFormat, { kind: Kind }>;

export interface PartSpec {
  readonly dtype: DType;
  readonly shape: Shape;
}

export const tileSize = 128;
export const nvfp4BlockSize = 16;

/** The tensors that hold a matrix of `shape` [out, in], by part. */
export function partsOf(format: WeightFormat, shape: Shape): Record<string, PartSpec> {
  const [out, inner] = dims({ shape }, 2);
  switch (format.kind) {
    case 'int8':
      // Transposed, because ONNX Runtime's integer products take [in, out].
      return { codes: { dtype: 'int8', shape: [inner, out] }, scale: float32(format.scales === 'row' ? [out] : [1]) };
    case 'block': {
      const blocks = Math.ceil(inner / format.blockSize);
      const bytes = (format.blockSize * format.bits) / 8;
      return { codes: { dtype: 'uint8', shape: [out, blocks, bytes] }, scale: float32([out, blocks]) };
    }
    case 'affine': {
      const { bits, blockSize } = format;
      const blocks = inner / blockSize;
      const each = float32([out, blocks]);
      return { codes: { dtype: 'uint8', shape: [out, blocks, (blockSize * bits) / 8] }, scale: each, offset: each };
    }
    case 'table': {
      const blocks = inner / format.blockSize;
      const codes: PartSpec = { dtype: 'uint8', shape: [out, blocks, format.blockSize / 2] };
      return { codes, scale: float32([out, blocks]), table: float32([16]) };
    }
    case 'float8': {
      const scales = { row: [out, 1], tensor: [1, 1], tile: [out / tileSize, inner / tileSize] };
      return { codes: { dtype: 'float8_e4m3fn', shape }, scale: float32(scales[format.scales]) };
    }
    case 'nvfp4':
      return {
        // The low halves of the bytes hold the first in/2 columns, the high halves the others.
        codes: { dtype: 'uint8', shape: [out, inner / 2] },
        blockScale: { dtype: 'float8_e4m3fn', shape: [out, inner / nvfp4BlockSize] },
        scale: float32(format.scales === 'row' ? [out, 1] : [1, 1]),
      };
    case 'low-rank': {
      const { rank, smooth, residual, branch: dtype = 'float16' } = format;
      return {
        ...partsOf(residual, shape),
        ...(rank > 0 ? { down: { dtype, shape: [rank, inner] }, up: { dtype, shape: [out, rank] } } : {}),
        ...(smooth ? { smooth: float32([inner]) } : {}),
      };
    }
    default:
      return format satisfies never;
  }
}

function float32(shape: Shape): PartSpec {
  return { dtype: 'float32', shape };
}

/** Whether a part of a weight has a row for each of the weight's. */
export function hasRows(format: WeightFormat, part: string): boolean {
  switch (format.kind) {
    case 'int8':
      return part === 'scale' && format.scales === 'row';
    case 'float8':
    case 'nvfp4':
      return part !== 'scale' || format.scales === 'row';
    case 'low-rank':
      return part === 'up' || (part !== 'down' && part !== 'smooth' && hasRows(format.residual, part));
    default:
      return part !== 'table';
  }
}

/** The name under which a part of a weight is stored. */
export function partName(weight: string, part: string): string {
  return `${weight}.${part}`;
}

/** Bytes of all parts of a weight. */
export function formatBytes(format: WeightFormat, shape: Shape): number {
  return Object.values(partsOf(format, shape)).reduce((sum, spec) => sum + bytesOf(spec), 0);
}

export function bytesOf({ dtype, shape }: PartSpec): number {
  return bytesPerElement(dtype) * sizeOf(shape);
}

/** Why a format cannot hold a matrix of this shape; undefined if it can. */
export function misfit(format: WeightFormat, shape: Shape): string | undefined {
  const [out, inner] = dims({ shape }, 2);
  switch (format.kind) {
    case 'float8':
      if (format.scales !== 'tile' || (out % tileSize === 0 && inner % tileSize === 0)) return undefined;
      return `[${shape}] is not made of tiles of ${tileSize}`;
    case 'affine':
    case 'table':
      return inner % format.blockSize === 0 ? undefined : `${inner} inputs are not divisible by ${format.blockSize}`;
    case 'nvfp4':
      return inner % nvfp4BlockSize === 0 ? undefined : `${inner} inputs are not divisible by ${nvfp4BlockSize}`;
    case 'low-rank': {
      const { residual, rank } = format;
      if (rank > Math.min(out, inner)) return `[${shape}] has no rank ${rank}`;
      const group = residual.kind === 'nvfp4' ? nvfp4BlockSize : residual.blockSize;
      return inner % group === 0 ? undefined : `${inner} inputs are not divisible by ${group}`;
    }
    default:
      return undefined;
  }
}

/** A format as people read it. */
export function describeFormat(format: WeightFormat): string {
  switch (format.kind) {
    case 'int8':
    case 'float8': {
      const { kind, scales, activations } = format;
      const rounded = activations === 'row' ? 'token' : activations;
      return `${kind} per ${scales}, activations ${rounded === 'float32' ? rounded : `${kind} per ${rounded}`}`;
    }
    case 'block':
      return `int${format.bits} in blocks of ${format.blockSize}, activations ${format.bits === 4 ? 'int8 per token' : 'float32'}`;
    case 'affine':
      return `${format.bits}-bit codes with offsets in blocks of ${format.blockSize}, activations float32`;
    case 'table':
      return `4-bit codes of a table in blocks of ${format.blockSize}, activations float32`;
    case 'nvfp4':
      return `nvfp4 in blocks of ${nvfp4BlockSize}, activations float32`;
    case 'low-rank':
      return `rank ${format.rank}${format.smooth ? ', smoothed' : ''} + ${describeFormat(format.residual)}`;
    default:
      return format satisfies never;
  }
}

/**
 * A format as read from JSON.
 * @throws DejaDitError INVALID_FILE naming the file and the weight
 */
export function parseFormat(json: unknown, { file, weight }: { file: string; weight: string }): WeightFormat {
  const result = weightFormat.safeParse(json);
  if (result.success) return result.data;
  throw new DejaDitError('INVALID_FILE', `weight ${quote(weight)} has no format that is known here: ${quote(json)}`, {
    path: file,
  });
}
