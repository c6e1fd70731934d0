/**
 * Weights that bitsandbytes has rounded to 8 bits (LLM.int8): int8 [out, in] beside `SCB`, the largest magnitude of every row. They are
 * read as float32, or held as int8 with a scale for each row. Its own products round activations to 8 bits too, outliers apart; here
 * they stay as they are.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { indicesOf, type Range, type Selection } from '../../tensor/selection.ts';
import { dims, floatTensor, type Shape, sizeOf, Tensor } from '../../tensor/tensor.ts';
import { withHeldFormats } from '../formats/held-formats.ts';
import type { WeightFormat } from '../formats/weight-format.ts';
import { derivedSource, type WeightSource } from '../weight-source.ts';

/** What bitsandbytes multiplies codes by, in the place of a division by 127. */
const unit = Math.fround(7.874015718698502e-3);

const format: WeightFormat = { kind: 'int8', scales: 'row', activations: 'float32' };

/**
 * The same weights, with those of 8 bits as float32; their scales are no tensors any more. A source without any is returned as it is.
 * @throws DejaDitError INVALID_FILE naming a scale that fits no weight
 */
export async function withInt8Rows(source: WeightSource): Promise<WeightSource> {
  const peaks = new Map<string, Float32Array>();
  const hidden = new Set<string>();
  for (const name of source.names) {
    const layer = /^(.+)\.SCB$/.exec(name)?.[1];
    if (layer === undefined) continue;
    const weight = source.has(`${layer}.weight`) ? source.info(`${layer}.weight`) : undefined;
    const { dtype, shape, file } = source.info(name);
    if (
      weight?.dtype !== 'int8' ||
      weight.shape.length !== 2 ||
      dtype !== 'float32' ||
      sizeOf(shape) !== weight.shape[0]
    ) {
      const beside = weight ? `${weight.dtype} [${weight.shape}]` : 'no weight';
      const message = `tensor ${quote(name)}: ${dtype} [${shape}] beside ${beside} is no int8 matrix of bitsandbytes`;
      throw new DejaDitError('INVALID_FILE', message, { path: file });
    }
    peaks.set(`${layer}.weight`, new Float32Array());
    for (const beside of ['SCB', 'weight_format']) hidden.add(`${layer}.${beside}`);
  }
  if (peaks.size === 0) return source;
  const scales = [...peaks.keys()].map((weight) => weight.replace(/weight$/, 'SCB'));
  await source.readMany(scales, (name, { f32 }) => void peaks.set(name.replace(/SCB$/, 'weight'), f32));
  const widened = (name: string, tensor: Tensor, rows?: readonly Range[]) => {
    const found = peaks.get(name);
    return found ? multiplied(tensor, chosen(found, rows)) : tensor;
  };
  const asNumbers = (source: WeightSource) =>
    derivedSource(source, {
      names: source.names.filter((name) => !hidden.has(name)),
      has: (name) => source.has(name) && !hidden.has(name),
      info(name) {
        const info = source.info(name);
        if (!peaks.has(name)) return info;
        const stored = { type: info.dtype, bytes: info.bytes };
        return { ...info, dtype: 'float32', bytes: 4 * sizeOf(info.shape), stored };
      },
      read: async (name, options) => widened(name, await source.read(name, options)),
      readPart: async (name, selection, options) =>
        widened(name, await source.readPart(name, selection, options), selection[0]),
      async readInto(name, target) {
        if (!peaks.has(name)) return source.readInto(name, target);
        const { buffer, byteOffset, byteLength } = widened(name, await source.read(name)).data;
        target.set(new Uint8Array(buffer, byteOffset, byteLength));
      },
      readMany: (names, onTensor, options) =>
        source.readMany(names, (name, tensor) => onTensor(name, widened(name, tensor)), options),
    });
  const readParts = async (name: string, rows?: readonly Range[]) => {
    const selection: Selection = [rows, undefined];
    const codes = await source.readPart(name, selection);
    const scale = chosen(peaks.get(name)!, rows).map((peak) => peak * unit);
    return { codes: transposed(codes), scale: floatTensor(scale, [scale.length]) };
  };
  return {
    ...asNumbers(source),
    stored: {
      preferred: true,
      hold(weights) {
        const layers = new Map<string, { format: WeightFormat; shape: Shape }>();
        for (const name of weights) if (peaks.has(name)) layers.set(name, { format, shape: source.info(name).shape });
        return withHeldFormats(asNumbers(source.stored?.hold(weights) ?? source), { layers, readParts });
      },
    },
  };
}

function chosen(peaks: Float32Array, rows: readonly Range[] | undefined): Float32Array {
  return rows ? Float32Array.from(indicesOf(rows), (row) => peaks[row]!) : peaks;
}

function multiplied(codes: Tensor, peaks: Float32Array): Tensor {
  const columns = codes.dim(1);
  const data = codes.data as Int8Array;
  const values = Float32Array.from(data, (code, i) => Math.fround(code * peaks[Math.floor(i / columns)]!) * unit);
  return floatTensor(values, codes.shape);
}

function transposed(codes: Tensor): Tensor {
  const [rows, columns] = dims(codes, 2);
  const data = codes.data as Int8Array;
  const result = new Int8Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) result[column * rows + row] = data[row * columns + column]!;
  return new Tensor('int8', result, [columns, rows]);
}
