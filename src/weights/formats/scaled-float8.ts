/**
 * Checkpoints with float8 weights, alone or beside a scale: what is stored is then `weight / scale`, brought to the range of the type.
 * Here they are read as the float32 numbers they stand for, or held as they are, so that nothing above knows of scales.
 *
 * Names differ by the program that wrote them: `layer.scale_weight` (ComfyUI, with a marker `scaled_fp8`), `layer.weight_scale`
 * (compressed-tensors and others; ComfyUI with a `layer.comfy_quant` that names the format), `layer.weight_scale_inv` (DeepSeek,
 * which multiplies by it all the same). Scales of activations stand beside some and are not needed, since layers compute in float32.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { parseJson } from '../../files/json.ts';
import { indicesOf, type Range, type Selection, select } from '../../tensor/selection.ts';
import { floatTensor, type Shape, sizeOf, type Tensor } from '../../tensor/tensor.ts';
import type { StoredWeightInfo } from '../weight-info.ts';
import { derivedSource, type WeightSource } from '../weight-source.ts';
import { withHeldFormats } from './held-formats.ts';
import { type FormatOf, misfit, partsOf } from './weight-format.ts';

const weightScale = /^(.*\.)(?:scale_weight|weight_scale|weight_scale_inv)$/;
const activationScale = /^(.*\.)(?:scale_input|input_scale)$/;
const marker = /(?:^|\.)scaled_fp8$/;
const description = /\.comfy_quant$/;

/** Edge of the square of weights that share a scale where scales are a matrix. */
const tile = 128;

/** The scales of a weight [rows, …], and how many of its rows and columns share one. */
interface Scales {
  values: Float32Array;
  /** Scales per row of tiles. */
  columns: number;
  tileRows: number;
  tileColumns: number;
}

/**
 * The same weights, with float8 ones as float32, multiplied by their scales; the scales themselves are no tensors any more. A source
 * without either is returned as it is.
 * @throws DejaDitError UNSUPPORTED naming a weight whose scale is missing, or a scale that fits no weight
 */
export async function withScaledFloat8(source: WeightSource): Promise<WeightSource> {
  const scaleOf = new Map<string, string>();
  const hidden = new Set<string>();
  for (const name of source.names) {
    const weight = weightScale.exec(name)?.[1];
    if (weight !== undefined) scaleOf.set(`${weight}weight`, name);
    const input = activationScale.exec(name)?.[1];
    if (description.test(name)) await requireScaledFormat(source, name);
    if (weight !== undefined || marker.test(name) || description.test(name)) hidden.add(name);
    else if (input !== undefined && source.has(`${input}weight`)) hidden.add(name);
  }
  const codes = new Set(
    source.names.filter((name) => source.info(name).dtype.startsWith('float8') && !hidden.has(name)),
  );
  if (hidden.size === 0 && codes.size === 0) return source;
  for (const [weight, scale] of scaleOf) requireFloat8(source, weight, scale);
  for (const name of hidden.size > 0 ? codes : []) {
    if (scaleOf.has(name)) continue;
    const { dtype, file } = source.info(name);
    throw new DejaDitError(
      'UNSUPPORTED',
      `tensor ${quote(name)} is ${dtype} without a scale, in a file that has scales beside such tensors`,
      { path: file },
    );
  }
  return widenedSource(source, { hidden, codes, scales: await readScales(source, scaleOf) });
}

async function readScales(source: WeightSource, scaleOf: ReadonlyMap<string, string>): Promise<Map<string, Scales>> {
  const scales = new Map<string, Scales>();
  const weightOf = new Map([...scaleOf].map(([weight, scale]) => [scale, weight]));
  await source.readMany(
    weightOf.keys(),
    (name, tensor) => {
      const weight = weightOf.get(name)!;
      scales.set(weight, scalesFor(source.info(weight), { name, tensor }));
    },
    { widen: 'float32' },
  );
  return scales;
}

interface Float8Tensors {
  hidden: ReadonlySet<string>;
  /** Tensors in float8. */
  codes: ReadonlySet<string>;
  /** Of those that have any. */
  scales: ReadonlyMap<string, Scales>;
}

function widenedSource(source: WeightSource, { hidden, codes, scales }: Float8Tensors): WeightSource {
  const widened = (name: string, tensor: Tensor, selection: Selection = []) => {
    if (!codes.has(name)) return tensor;
    const found = scales.get(name);
    return found ? multiplied(tensor.float(), found, selection) : tensor.float();
  };
  const read: WeightSource['read'] = async (name, options) => widened(name, await source.read(name, options));
  const result = derivedSource(source, {
    names: source.names.filter((name) => !hidden.has(name)),
    has: (name) => source.has(name) && !hidden.has(name),
    info(name) {
      const info = source.info(name);
      if (!codes.has(name)) return info;
      const stored = { type: info.dtype, bytes: info.bytes };
      return { ...info, dtype: 'float32', bytes: 4 * sizeOf(info.shape), stored };
    },
    read,
    async readPart(name, selection, options) {
      // Scales are those of a matrix.
      if (source.info(name).shape.length > 2) return select(await read(name, options), selection);
      return widened(name, await source.readPart(name, selection, options), selection);
    },
    async readInto(name, target) {
      if (!codes.has(name)) return source.readInto(name, target);
      const { buffer, byteOffset, byteLength } = (await read(name)).data;
      target.set(new Uint8Array(buffer, byteOffset, byteLength));
    },
    readMany: (names, onTensor, options) =>
      source.readMany(names, (name, tensor) => onTensor(name, widened(name, tensor)), options),
  });
  return {
    ...result,
    stored: {
      preferred: false,
      hold(weights) {
        const layers = new Map<string, { format: FormatOf<'float8'>; shape: Shape }>();
        for (const name of weights) {
          const { dtype, shape } = codes.has(name) ? source.info(name) : {};
          if (dtype !== 'float8_e4m3fn' || shape?.length !== 2) continue;
          const format = formatFor(shape, scales.get(name));
          if (misfit(format, shape) === undefined) layers.set(name, { format, shape });
        }
        const readParts = async (name: string, rows?: readonly Range[]) => {
          const { format, shape } = layers.get(name)!;
          const { values } = scales.get(name) ?? { values: Float32Array.of(1) };
          const scale = floatTensor(values, partsOf(format, shape)['scale']!.shape);
          const isPerRow = scale.dim(0) === shape[0];
          return {
            codes: await source.readPart(name, [rows, undefined]),
            scale: rows && isPerRow ? select(scale, [rows]) : scale,
          };
        };
        return withHeldFormats(result, { layers, readParts });
      },
    },
  };
}

/** What holds a weight as it is stored. */
function formatFor([rows]: Shape, scales: Scales | undefined): FormatOf<'float8'> {
  const kind = !scales || scales.tileRows === rows ? 'tensor' : scales.tileRows === 1 ? 'row' : 'tile';
  return { kind: 'float8', scales: kind, activations: 'float32' };
}

/** @throws DejaDitError UNSUPPORTED naming the format that ComfyUI says a layer is in, if it is not float8 beside a scale */
async function requireScaledFormat(source: WeightSource, name: string): Promise<void> {
  const { bytes, file } = source.info(name);
  const { data } = bytes <= maxDescriptionBytes ? await source.read(name) : { data: undefined };
  const text = data instanceof Uint8Array ? new TextDecoder().decode(data) : '{}';
  const { format } = parseJson(text, { path: file, subject: `tensor ${quote(name)}` });
  if (format === 'float8_e4m3fn' || format === 'float8_e5m2') return;
  throw new DejaDitError(
    'UNSUPPORTED',
    `tensor ${quote(name)} says that its layer is in the format ${quote(format)}, which is not read; float8_e4m3fn and float8_e5m2 are`,
    { path: file },
  );
}

/** A few words of JSON. */
const maxDescriptionBytes = 4096;

function requireFloat8(source: WeightSource, weight: string, scale: string): void {
  const found = source.has(weight) ? source.info(weight).dtype : 'missing';
  if (found.startsWith('float8')) return;
  throw new DejaDitError(
    'UNSUPPORTED',
    `tensor ${quote(scale)} scales ${quote(weight)}, which is ${found}, not float8`,
    {
      path: source.info(scale).file,
    },
  );
}

/** Reads a scale: of the whole weight, of each row, or of each tile. */
function scalesFor(weight: StoredWeightInfo, { name, tensor }: { name: string; tensor: Tensor }): Scales {
  const rows = weight.shape[0] ?? 1;
  const width = sizeOf(weight.shape) / rows;
  const values = tensor.f32;
  const bad = (problem: string) =>
    new DejaDitError('UNSUPPORTED', `tensor ${quote(name)} ${problem}`, { path: weight.file });
  if (!values.every(Number.isFinite)) throw bad('has scales that are no finite numbers');
  if (tensor.size === 1) return { values, columns: 1, tileRows: rows, tileColumns: width };
  const [first, ...others] = tensor.shape;
  if (first === rows && others.every((size) => size === 1))
    return { values, columns: 1, tileRows: 1, tileColumns: width };
  const columns = Math.ceil(width / tile);
  const isTiled = weight.shape.length === 2 && tensor.shape.length === 2;
  if (isTiled && first === Math.ceil(rows / tile) && others[0] === columns)
    return { values, columns, tileRows: tile, tileColumns: tile };
  throw bad(
    `has shape [${tensor.shape}], which is no scale for [${weight.shape}]: neither one, nor one per row or ${tile}×${tile} tile`,
  );
}

/** Multiplies in place. @param selection what of the weight the tensor is */
function multiplied(
  tensor: Tensor,
  { values, columns, tileRows, tileColumns }: Scales,
  [ofRows, ofColumns]: Selection,
): Tensor {
  const data = tensor.f32;
  const rows = tensor.shape[0] ?? 1;
  const width = data.length / rows;
  const all = (count: number) => Array.from({ length: count }, (_, i) => i);
  const columnIndices = ofColumns ? indicesOf(ofColumns) : all(width);
  const column = Uint32Array.from(columnIndices, (index) => Math.floor(index / tileColumns));
  let at = 0;
  for (const row of ofRows ? indicesOf(ofRows) : all(rows)) {
    const first = Math.floor(row / tileRows) * columns;
    for (let i = 0; i < width; i++) data[at++]! *= values[first + column[i]!]!;
  }
  return tensor;
}
