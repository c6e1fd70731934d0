/**
 * Holds what a LoRA's file says against a model: finds its layers, under the names of Diffusers and of the model's first release, cuts what
 * is for fused layers, and checks all shapes.
 */
import { DejaDitError, nearestName } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { kronecker, type Matrix, matrix } from '../../tensor/linear-algebra/matrix.ts';
import { dims } from '../../tensor/tensor.ts';
import { type CutModule, type NameTable, originalModules, type RowRange } from '../names/name-table.ts';
import type { Weights } from '../weight-store.ts';
import type { LoraLayer, Product } from './lora-layer.ts';

export interface FitOptions {
  weights: Weights;
  /** The LoRA's file, for error messages. */
  origin: string;
  /** How the model's layers are called elsewhere. */
  names?: NameTable | undefined;
}

/** What is added to one weight of a model. */
export type FittedLayer = Omit<LoraLayer, 'module' | 'flat'>;

/** A module of the model that a layer of a file is for. */
interface Target {
  readonly module: string;
  readonly cut: { readonly place: number; readonly of: CutModule } | undefined;
}

/**
 * @returns by weight
 * @throws DejaDitError NOT_FOUND listing layers that the model has not; UNSUPPORTED, SHAPE_MISMATCH or INVALID_FILE naming the layer
 */
export function fitLora(
  layers: readonly LoraLayer[],
  { weights, origin, names = {} }: FitOptions,
): Map<string, FittedLayer> {
  const known = knownModules(weights, names);
  const find = ({ module, flat }: LoraLayer) => (flat ? known.flat : known.dotted).get(module);
  const unknown = layers.filter((layer) => !find(layer));
  if (unknown.length > 0) throw unknownLayers(unknown, known, origin);
  const fitted = new Map<string, FittedLayer>();
  for (const layer of layers) {
    for (const target of find(layer)!) {
      const weight = `${target.module}.weight`;
      if (fitted.has(weight))
        throw new DejaDitError('INVALID_FILE', `layer ${quote(layer.module)} is there under two names`, {
          path: origin,
        });
      fitted.set(weight, fitLayer(layer, target, { shape: weights.info(weight)!.shape, origin }));
    }
  }
  return fitted;
}

/** The modules that a file may be for, by their paths and by those with underscores for dots. */
interface KnownModules {
  readonly dotted: ReadonlyMap<string, readonly Target[]>;
  readonly flat: ReadonlyMap<string, readonly Target[]>;
}

function knownModules(weights: Weights, names: NameTable): KnownModules {
  const own = new Set(
    weights.names.flatMap((name) => {
      const module = /^(.+)\.weight(?:\.\w+)?$/.exec(name)?.[1];
      return module !== undefined && weights.has(`${module}.weight`) ? [module] : [];
    }),
  );
  const dotted = new Map<string, readonly Target[]>(originalModules(names, own));
  for (const module of own) {
    const target = [{ module, cut: undefined }];
    // CLIP's text tower has been saved with this prefix and without.
    const other = module.startsWith('text_model.') ? module.slice('text_model.'.length) : `text_model.${module}`;
    if (!own.has(other)) dotted.set(other, target);
    dotted.set(module, target);
  }
  return { dotted, flat: new Map([...dotted].map(([name, targets]) => [name.replaceAll('.', '_'), targets])) };
}

function fitLayer(
  { module, product, bias, magnitude }: LoraLayer,
  { module: target, cut }: Target,
  { shape, origin }: { shape: readonly number[]; origin: string },
): FittedLayer {
  const where = { path: `${origin}: ${module}` };
  if (shape.length !== 2) throw new DejaDitError('UNSUPPORTED', `is no linear layer: its weight is [${shape}]`, where);
  const [out, inner] = dims({ shape }, 2);
  const mismatch = (what: string, found: string, needed: string) => {
    const layer = cut ? `${target} of weight [${shape}]` : `a layer of weight [${shape}]`;
    return new DejaDitError('SHAPE_MISMATCH', `the ${what} is [${found}], ${layer} needs [${needed}]`, where);
  };
  if (product) checkInner(product, inner, mismatch);
  const all = product ? rowsOf(product) : (bias ?? magnitude)!.length;
  const ranges = cut ? cut.of.rows(all, inner)[cut.place]! : [[0, all] as const];
  const fits = ranges.every(([from, to]) => Number.isInteger(from) && Number.isInteger(to) && 0 <= from && to <= all);
  if (!fits || ranges.reduce((sum, [from, to]) => sum + to - from, 0) !== out) {
    const rows = cut ? `${out} of its rows` : String(out);
    if (product?.kind === 'low-rank')
      throw mismatch('up matrix', `${all},${product.up.columns}`, `${rows},${product.down.rows}`);
    throw mismatch(product ? 'product' : 'bias', String(all), rows);
  }
  const vectorOf = (what: string, values: Float32Array): Float32Array => {
    if (values.length !== all) throw mismatch(what, String(values.length), String(all));
    return Float32Array.from(ranges.flatMap(([from, to]) => [...values.subarray(from, to)]));
  };
  return {
    ...(product ? { product: pickRows(product, ranges) } : {}),
    ...(bias ? { bias: vectorOf('bias', bias) } : {}),
    ...(magnitude ? { magnitude: vectorOf('magnitude', magnitude) } : {}),
  };
}

function checkInner(
  product: Product,
  inner: number,
  mismatch: (what: string, found: string, needed: string) => DejaDitError,
): void {
  if (product.kind === 'kronecker') {
    const columns = product.left.columns * product.right.columns;
    if (columns !== inner) throw mismatch('product', `…,${columns}`, `…,${inner}`);
    return;
  }
  const { up, down } = product;
  if (down.columns !== inner) throw mismatch('down matrix', `${down.rows},${down.columns}`, `${down.rows},${inner}`);
  if (up.columns !== down.rows) throw mismatch('up matrix', `${up.rows},${up.columns}`, `${up.rows},${down.rows}`);
}

function rowsOf(product: Product): number {
  return product.kind === 'low-rank' ? product.up.rows : product.left.rows * product.right.rows;
}

function pickRows(product: Product, ranges: readonly RowRange[]): Product {
  if (product.kind === 'low-rank') return { ...product, up: rowsIn(product.up, ranges) };
  const { left, right } = product;
  if (ranges.every(([from, to]) => from % right.rows === 0 && to % right.rows === 0))
    return {
      ...product,
      left: rowsIn(
        left,
        ranges.map(([from, to]) => [from / right.rows, to / right.rows]),
      ),
    };
  // Cut across the blocks, it is no Kronecker product any more.
  return { kind: 'kronecker', left: matrix(1, 1, Float32Array.of(1)), right: rowsIn(kronecker(left, right), ranges) };
}

function rowsIn({ data, rows, columns }: Matrix, ranges: readonly RowRange[]): Matrix {
  const [first] = ranges;
  if (ranges.length === 1 && first![0] === 0 && first![1] === rows) return matrix(rows, columns, data);
  const picked = ranges.map(([from, to]) => data.subarray(from * columns, to * columns));
  const result = new Float32Array(picked.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const part of picked) {
    result.set(part, end);
    end += part.length;
  }
  return matrix(result.length / columns, columns, result);
}

function unknownLayers(unknown: readonly LoraLayer[], known: KnownModules, origin: string): DejaDitError {
  const shown = unknown.slice(0, 3).map(({ module, flat }) => {
    const nearest = nearestName(module, (flat ? known.flat : known.dotted).keys());
    return quote(module) + (nearest === undefined ? '' : ` (did you mean ${nearest}?)`);
  });
  const more = unknown.length > 3 ? ` and ${unknown.length - 3} more` : '';
  return new DejaDitError('NOT_FOUND', `is for layers that this model has not: ${shown.join(', ')}${more}`, {
    path: origin,
  });
}
