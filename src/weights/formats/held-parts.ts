/**
 * Parts of quantised weights as a backend holds them, where that is not how files do. Files have one layout, whichever machine wrote
 * them; what a backend's product needs is made when a weight comes to it, and undone when one is read back.
 *
 * There is one such case: int8 codes on a backend that multiplies unsigned numbers are held as uint8, each 128 larger.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { BackendCapabilities, Int8Product } from '../../runtime/backend.ts';
import { viewOf } from '../../tensor/dtype.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { WeightSource } from '../weight-source.ts';
import type { Weights } from '../weight-store.ts';
import { describeFormat, type WeightFormat } from './weight-format.ts';

/** What stands for zero in codes that are held as uint8. */
export const unsignedZero = 128;

/** Of weights that are quantised, by name. */
type Formats = { get(weight: string): { readonly format?: WeightFormat | undefined } | undefined };

/** A source whose tensors are as a backend of these capabilities holds them. */
export function heldSource(source: WeightSource, capabilities: BackendCapabilities): WeightSource {
  const { names, quantized } = source;
  const { int8Product } = capabilities;
  for (const [weight, { format }] of quantized ?? []) requireProduct(weight, format, capabilities);
  if (!quantized || int8Product === 'u8s8') return source;
  const isOperand = (name: string) => isInt8Operand(name, quantized);
  return {
    names,
    quantized,
    has: (name) => source.has(name),
    info: (name) => (isOperand(name) ? { ...source.info(name), dtype: 'uint8' } : source.info(name)),
    async read(name, options) {
      const tensor = await source.read(name, options);
      return isOperand(name) ? flipped(tensor) : tensor;
    },
    async readPart(name, selection, options) {
      const tensor = await source.readPart(name, selection, options);
      return isOperand(name) ? flipped(tensor) : tensor;
    },
    async readInto(name, target) {
      await source.readInto(name, target);
      if (isOperand(name)) flipTopBits(target);
    },
    readMany: (wanted, onTensor, options) =>
      source.readMany(wanted, (name, tensor) => onTensor(name, isOperand(name) ? flipped(tensor) : tensor), options),
    close: () => source.close(),
  };
}

/** @throws DejaDitError UNSUPPORTED naming the format, on a backend that cannot multiply with it */
export function requireProduct(weight: string, format: WeightFormat, { lowBitProduct }: BackendCapabilities): void {
  if (lowBitProduct === 'widened') return;
  const { kind } = format.kind === 'low-rank' ? format.residual : format;
  if (kind === 'block' || kind === 'affine') return;
  const remedy =
    kind === 'table'
      ? "load it with weightDtype: 'float32', then quantize to 'int4_weight_only'"
      : "quantize to 'int4_weight_only', or 'int8_weight_only' with a blockSize, or use backend 'cpu'";
  throw new DejaDitError(
    'UNSUPPORTED',
    `tensor '${weight}' is ${describeFormat(format)}, which this backend has no product for; ${remedy}`,
  );
}

/** A stored tensor as a backend of these capabilities holds it, in the same memory. */
export function heldTensor(
  { name, tensor, formats }: { name: string; tensor: Tensor; formats: Formats },
  { int8Product }: BackendCapabilities,
): Tensor {
  return int8Product === 'u8u8' && isInt8Operand(name, formats) ? flipped(tensor) : tensor;
}

/** A tensor as files have it, from one that a backend holds; in memory of its own if they differ. */
export function storedTensor({ name, tensor, formats }: { name: string; tensor: Tensor; formats: Formats }): Tensor {
  const { dtype, data, shape } = tensor;
  return dtype === 'uint8' && isInt8Operand(name, formats) ? flipped(new Tensor(dtype, data.slice(), shape)) : tensor;
}

/** The product that some layers of a model use on a backend; null if none multiplies 8-bit numbers. */
export function int8ProductOf(weights: Weights, { int8Product }: BackendCapabilities): Int8Product | null {
  const formats: Formats = { get: (weight) => weights.info(weight) };
  return weights.names.some((name) => isInt8Operand(name, formats)) ? int8Product : null;
}

/** Whether a format's codes are multiplied as they are, without being widened. */
function isInt8Product(format: WeightFormat | undefined): boolean {
  return format?.kind === 'int8' && format.activations !== 'float32';
}

function isInt8Operand(name: string, formats: Formats): boolean {
  const end = name.lastIndexOf('.');
  return name.slice(end + 1) === 'codes' && isInt8Product(formats.get(name.slice(0, end))?.format);
}

/** From int8 to uint8 codes or back, in place: 128 more or less is the top bit turned over. */
function flipped({ dtype, data, shape }: Tensor): Tensor {
  const { buffer, byteOffset, byteLength } = data;
  flipTopBits(new Uint8Array(buffer, byteOffset, byteLength));
  const other = dtype === 'int8' ? 'uint8' : 'int8';
  return new Tensor(other, viewOf(other, buffer, byteOffset, byteLength), shape);
}

function flipTopBits(bytes: Uint8Array): void {
  const { buffer, byteOffset, length } = bytes;
  let done = 0;
  if (byteOffset % 4 === 0) {
    // Four at a time: an offloaded model does this at every read.
    const words = new Uint32Array(buffer, byteOffset, length >> 2);
    for (let i = 0; i < words.length; i++) words[i]! ^= 0x80808080;
    done = 4 * words.length;
  }
  for (let i = done; i < length; i++) bytes[i]! ^= 0x80;
}
