/**
 * What the tensors of one layer come to: LoRA, LoKr and LoHa as one of two products that need not be written out, scaled by alpha. All
 * in float32; nothing here knows of the model.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { type Matrix, matrix, multiply } from '../../tensor/linear-algebra/matrix.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { LoraName, LoraPart } from './lora-names.ts';
import { type AdapterSettings, scaleBy } from './lora-settings.ts';

export type LoraParts = Readonly<Partial<Record<LoraPart, Tensor>>>;

/** A matrix [out, in] as up · down, or as the Kronecker product left ⊗ right. */
export type Product =
  | { readonly kind: 'low-rank'; readonly up: Matrix; readonly down: Matrix }
  | { readonly kind: 'kronecker'; readonly left: Matrix; readonly right: Matrix };

/** What a file adds to one layer, as the file names it. */
export interface LoraLayer {
  readonly module: string;
  /** Whether `module` has underscores for dots. */
  readonly flat: boolean;
  /** Added to the weight. */
  readonly product?: Product;
  /** Added to the bias [out]. */
  readonly bias?: Float32Array;
  /** DoRA: the length of each row of the sum, [out]. */
  readonly magnitude?: Float32Array;
}

/** How a product is written down: which parts it must have, and which it may have. */
interface Form {
  readonly needs: readonly LoraPart[];
  readonly takes?: readonly LoraPart[];
}

const forms: readonly Form[] = [
  { needs: ['down', 'up'], takes: ['upBias'] },
  { needs: ['hadamardUp1', 'hadamardDown1', 'hadamardUp2', 'hadamardDown2'] },
  { needs: ['left', 'right'] },
  { needs: ['left', 'rightUp', 'rightDown'] },
  { needs: ['leftUp', 'leftDown', 'right'] },
  { needs: ['leftUp', 'leftDown', 'rightUp', 'rightDown'] },
  { needs: ['difference'] },
  { needs: ['biasDifference'] },
];

/** What any product may come with. */
const always: readonly LoraPart[] = ['alpha', 'magnitude', 'biasDifference'];

const inFiles: Readonly<Record<LoraPart, string>> = {
  down: 'lora_A or lora_down',
  up: 'lora_B or lora_up',
  upBias: 'lora_B.bias',
  alpha: 'alpha',
  magnitude: 'lora_magnitude_vector or dora_scale',
  left: 'lokr_w1',
  leftUp: 'lokr_w1_a',
  leftDown: 'lokr_w1_b',
  right: 'lokr_w2',
  rightUp: 'lokr_w2_a',
  rightDown: 'lokr_w2_b',
  hadamardUp1: 'hada_w1_a',
  hadamardDown1: 'hada_w1_b',
  hadamardUp2: 'hada_w2_a',
  hadamardDown2: 'hada_w2_b',
  difference: 'diff',
  biasDifference: 'diff_b',
};

interface LayerContext {
  settings: AdapterSettings | undefined;
  /** The file, for error messages. */
  origin: string;
}

/** @throws DejaDitError INVALID_FILE or UNSUPPORTED naming the layer and the part that is missing or wrong */
export function loraLayer(
  { name, parts }: { name: LoraName; parts: LoraParts },
  { settings, origin }: LayerContext,
): LoraLayer {
  const { module, flat } = name;
  const where = { path: origin };
  const bad = (message: string) => new DejaDitError('INVALID_FILE', `layer ${quote(module)} ${message}`, where);
  checkForm(parts, bad);

  const read = (part: LoraPart): Float32Array => {
    const tensor = parts[part]!;
    if (!/^b?float(16|32|64)$/.test(tensor.dtype))
      throw new DejaDitError(
        'UNSUPPORTED',
        `${module}: '${inFiles[part]}' is ${tensor.dtype}, not floating-point`,
        where,
      );
    const data = tensor.float().f32;
    if (!data.every(Number.isFinite)) throw bad(`has NaN or infinite values in '${inFiles[part]}'`);
    return data;
  };
  const matrixOf = (part: LoraPart): Matrix => {
    const { shape } = parts[part]!;
    const [rows, columns, ...kernel] = shape;
    // A kernel of one pixel is a matrix.
    if (columns === undefined || kernel.some((size) => size !== 1))
      throw new DejaDitError('UNSUPPORTED', `${module}: '${inFiles[part]}' is [${shape}], no matrix`, where);
    if (!(rows! > 0 && columns > 0)) throw bad(`has '${inFiles[part]}' [${shape}] without a rank`);
    return matrix(rows!, columns, read(part));
  };
  const productOf = (up: LoraPart, down: LoraPart): Matrix => {
    const [a, b] = [matrixOf(up), matrixOf(down)];
    if (a.columns !== b.rows)
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `${module}: '${inFiles[up]}' is [${parts[up]!.shape}], '${inFiles[down]}' [${parts[down]!.shape}]`,
        where,
      );
    return multiply(a, b);
  };
  const wholeOr = (whole: LoraPart, up: LoraPart, down: LoraPart): Matrix =>
    parts[whole] ? matrixOf(whole) : productOf(up, down);

  const scale = scaleOf({ module, parts, settings }, bad);
  const product = ((): Product | undefined => {
    if (parts.down) return { kind: 'low-rank', down: matrixOf('down'), up: scaled(matrixOf('up'), scale) };
    if (parts.hadamardUp1) return hadamard([1, 2], matrixOf, scale);
    if (parts.difference)
      return { kind: 'kronecker', left: matrix(1, 1, Float32Array.of(1)), right: matrixOf('difference') };
    if (!parts.left && !parts.leftUp) return undefined;
    const left = scaled(wholeOr('left', 'leftUp', 'leftDown'), scale);
    return { kind: 'kronecker', left, right: wholeOr('right', 'rightUp', 'rightDown') };
  })();
  if (settings?.use_dora && !parts.magnitude) throw bad(`has no '${inFiles.magnitude}', though use_dora is set`);
  if (parts.magnitude && !product) throw bad(`has '${inFiles.magnitude}' and no product`);
  return {
    module,
    flat,
    ...(product ? { product } : {}),
    ...(parts.upBias ? { bias: read('upBias').map((x) => x * scale) } : {}),
    ...(parts.biasDifference ? { bias: read('biasDifference') } : {}),
    ...(parts.magnitude ? { magnitude: read('magnitude') } : {}),
  };
}

function checkForm(parts: LoraParts, bad: (message: string) => DejaDitError): void {
  const has = (part: LoraPart) => parts[part] !== undefined;
  const complete = forms.find(({ needs }) => needs.every(has));
  if (!complete) {
    const lacking = forms.map(({ needs }) => ({ missing: needs.filter((part) => !has(part)), some: needs.some(has) }));
    const nearest = lacking.filter(({ some }) => some).toSorted((a, b) => a.missing.length - b.missing.length)[0];
    throw bad(nearest ? `has no '${inFiles[nearest.missing[0]!]}'` : `has no '${inFiles.down}'`);
  }
  const known = [...complete.needs, ...(complete.takes ?? []), ...always];
  const more = (Object.keys(parts) as LoraPart[]).find((part) => !known.includes(part));
  if (more) throw bad(`has '${inFiles[more]}' beside '${inFiles[complete.needs[0]!]}'`);
}

/** By what a product is multiplied: alpha / rank, where alpha is the rank if nobody says. */
function scaleOf(
  { module, parts, settings }: { module: string; parts: LoraParts; settings: AdapterSettings | undefined },
  bad: (message: string) => DejaDitError,
): number {
  const { alpha, down, leftDown, rightDown, hadamardDown1 } = parts;
  const rank = (down ?? hadamardDown1 ?? leftDown ?? rightDown)?.shape[0];
  if (rank === 0) throw bad('has matrices without a rank');
  if (!alpha) return settings ? scaleBy(settings, { module, rank }) : 1;
  if (settings) throw bad('has an alpha of its own although the settings of the adapter give one: remove either');
  const value = alpha.size === 1 ? Number(alpha.float().data[0]) : Number.NaN;
  if (!Number.isFinite(value)) throw bad('has an alpha that is no number');
  // LoKr of two whole factors has no rank, and says an alpha all the same.
  return rank === undefined ? 1 : value / rank;
}

function scaled({ rows, columns, data }: Matrix, scale: number): Matrix {
  return scale === 1
    ? matrix(rows, columns, data)
    : matrix(
        rows,
        columns,
        data.map((x) => x * scale),
      );
}

/** (a · b) ∘ (c · d) of ranks r and s is a product of rank r·s: each column of a times each of c, each row of b times each of d. */
function hadamard(numbers: readonly [1, 2], matrixOf: (part: LoraPart) => Matrix, scale: number): Product {
  const [[a, b], [c, d]] = numbers.map((n) => [matrixOf(`hadamardUp${n}`), matrixOf(`hadamardDown${n}`)]) as [
    [Matrix, Matrix],
    [Matrix, Matrix],
  ];
  const [r, s] = [b.rows, d.rows];
  const up = matrix(a.rows, r * s);
  for (let row = 0; row < a.rows; row++)
    for (let i = 0; i < r; i++)
      for (let j = 0; j < s; j++)
        up.data[row * r * s + i * s + j] = scale * a.data[row * r + i]! * c.data[row * s + j]!;
  const down = matrix(r * s, b.columns);
  for (let i = 0; i < r; i++)
    for (let j = 0; j < s; j++)
      for (let column = 0; column < b.columns; column++)
        down.data[(i * s + j) * b.columns + column] = b.data[i * b.columns + column]! * d.data[j * b.columns + column]!;
  return { kind: 'low-rank', up, down };
}
