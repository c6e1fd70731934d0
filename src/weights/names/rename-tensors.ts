/**
 * Gives a file's tensors the names that they have in Diffusers. Nothing is read for it: a fused weight that is cut into rows becomes
 * several tensors at places inside it; where rows change places, pieces are put together when they are read.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { select } from '../../tensor/selection.ts';
import { type Shape, sizeOf, Tensor } from '../../tensor/tensor.ts';
import type { TensorInfo } from '../safetensors/safetensors-header.ts';
import { derivedSource, type WeightSource } from '../weight-source.ts';
import { type CutModule, fill, leaves, type NameTable, patternOf } from './name-table.ts';

export interface RenamedTensors {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** Tensors that are made of several of the others, one after the other. */
  readonly joined: ReadonlyMap<string, readonly string[]>;
}

interface Entry {
  readonly pattern: RegExp;
  readonly place: string | CutModule;
}

/**
 * @param tensors under original names, or those of Diffusers, which stay as they are
 * @throws DejaDitError INVALID_FILE naming tensors that cannot be cut, or of which two come to the same name
 */
export function renameTensors(tensors: ReadonlyMap<string, TensorInfo>, table: NameTable): RenamedTensors {
  const entries = Object.entries(table).map(
    ([name, place]): Entry => ({ pattern: patternOf(name, `(?:\\.(${leaves}))?`), place }),
  );
  const result = new Map<string, TensorInfo>();
  const joined = new Map<string, string[]>();
  const origins = new Map<string, string>();
  const add = (name: string, original: string, pieces: readonly TensorInfo[]) => {
    const other = origins.get(name);
    if (other !== undefined) {
      const both = `tensors ${quote(other)} and ${quote(original)} are both ${quote(name)}`;
      throw new DejaDitError('INVALID_FILE', both, { path: pieces[0]!.file });
    }
    origins.set(name, original);
    if (pieces.length === 1) result.set(name, pieces[0]!);
    else {
      const names = pieces.map((_, i) => `${name}#${i}`);
      for (const [i, piece] of pieces.entries()) result.set(names[i]!, piece);
      joined.set(name, names);
    }
  };
  for (const [name, info] of tensors) {
    const found = findEntry(name, entries);
    if (!found) add(name, name, [info]);
    else if (typeof found.place === 'string') add(`${fill(found.place, found.numbers)}${found.rest}`, name, [info]);
    else {
      const { into } = found.place;
      const inner = innerSize(tensors.get(`${found.module}.weight`));
      for (const [index, pieces] of cutRows(info, { name, module: found.place, inner, tensors }).entries())
        add(`${fill(into[index]!, found.numbers)}${found.rest}`, name, pieces);
    }
  }
  return { tensors: result, joined };
}

function findEntry(name: string, entries: readonly Entry[]) {
  for (const { pattern, place } of entries) {
    const match = pattern.exec(name);
    if (!match) continue;
    const ending = match.at(-1);
    const rest = ending === undefined ? '' : `.${ending}`;
    return { place, rest, numbers: match.slice(1, -1), module: name.slice(0, name.length - rest.length) };
  }
  return undefined;
}

/** Columns of a weight. */
function innerSize(weight: TensorInfo | undefined): number {
  return weight ? sizeOf(shapeOf(weight).slice(1)) : Number.NaN;
}

/** What a tensor's bytes stand for. */
function shapeOf({ encoded, shape }: TensorInfo): Shape {
  return encoded?.shape ?? shape;
}

/** The places of a tensor's rows, by module. */
function cutRows(
  info: TensorInfo,
  {
    name,
    module,
    inner,
    tensors,
  }: { name: string; module: CutModule; inner: number; tensors: ReadonlyMap<string, TensorInfo> },
): TensorInfo[][] {
  const shape = shapeOf(info);
  const weight = tensors.get(name.replace(/\.[^.]+$/, '.weight'));
  const out = weight ? shapeOf(weight)[0]! : shape[0]!;
  const bad = (problem: string) =>
    new DejaDitError('INVALID_FILE', `tensor ${quote(name)}: [${shape}] ${problem}`, { path: info.file });
  // One scale for all, and what says how the weight is stored, are those of each part.
  const isShared = sizeOf(shape) === 1 || shape[0] !== out;
  if (isShared && !/\.(weight|bias)$/.test(name)) {
    if (sizeOf(shape) === 1 || name.endsWith('.comfy_quant')) return module.into.map(() => [info]);
    throw bad('is no scale that can be cut with its weight');
  }
  if (info.encoded && info.encoded.shape[0] !== info.shape[0]) throw bad('does not lie in rows of whole bytes');
  return module.rows(out, inner).map((ranges) =>
    ranges.map(([from, to]) => {
      const fits = Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from < to && to <= out;
      if (!fits) throw bad(`cannot be cut into ${module.into.join(', ')}`);
      return rowsOf(info, { from, to, isMatrix: module.isMatrix === true });
    }),
  );
}

function rowsOf(info: TensorInfo, { from, to, isMatrix }: { from: number; to: number; isMatrix: boolean }): TensorInfo {
  const { shape, bytes, offset, encoded } = info;
  const within = encoded?.within && { ...encoded.within, row: encoded.within.row + from };
  const rowBytes = bytes / shape[0]!;
  const cut = (whole: Shape) => {
    const [, ...inner] = whole;
    return [to - from, ...(isMatrix && inner.length > 1 ? [sizeOf(inner)] : inner)];
  };
  return {
    ...info,
    shape: cut(shape),
    bytes: (to - from) * rowBytes,
    offset: offset + from * rowBytes,
    ...(encoded ? { encoded: { ...encoded, shape: cut(encoded.shape), within } } : {}),
  };
}

/** A source with tensors put together that are joined; the pieces are no tensors any more. */
export function withJoinedTensors(source: WeightSource, joined: RenamedTensors['joined']): WeightSource {
  if (joined.size === 0) return source;
  const pieces = new Set([...joined.values()].flat());
  const { stored } = source;
  const read: WeightSource['read'] = async (name, options) => {
    const parts = joined.get(name);
    if (!parts) return source.read(name, options);
    const tensors = await Promise.all(parts.map((part) => source.read(part, options)));
    const { dtype, data, shape } = tensors[0]!;
    const values = data.constructor as new (length: number) => typeof data;
    const all = new values(tensors.reduce((sum, { size }) => sum + size, 0));
    let end = 0;
    for (const tensor of tensors) {
      (all as { set(from: ArrayLike<unknown>, at: number): void }).set(tensor.data, end);
      end += tensor.size;
    }
    return new Tensor(dtype, all, [tensors.reduce((sum, tensor) => sum + tensor.dim(0), 0), ...shape.slice(1)]);
  };
  return derivedSource(source, {
    names: [...source.names.filter((name) => !pieces.has(name)), ...joined.keys()],
    has: (name) => joined.has(name) || (source.has(name) && !pieces.has(name)),
    info(name) {
      const parts = joined.get(name)?.map((part) => source.info(part));
      if (!parts) return source.info(name);
      const sum = (shapes: readonly Shape[]) => [
        shapes.reduce((all, [rows]) => all + rows!, 0),
        ...shapes[0]!.slice(1),
      ];
      const [first] = parts as [(typeof parts)[number]];
      return {
        ...first,
        shape: sum(parts.map(({ shape }) => shape)),
        bytes: parts.reduce((all, { bytes }) => all + bytes, 0),
        ...(first.encoded
          ? { encoded: { ...first.encoded, shape: sum(parts.map(({ encoded }) => encoded!.shape)) } }
          : {}),
      };
    },
    // What is put together is held as numbers.
    ...(stored ? { stored: { ...stored, hold: (weights) => withJoinedTensors(stored.hold(weights), joined) } } : {}),
    read,
    readPart: async (name, selection, options) =>
      joined.has(name) ? select(await read(name, options), selection) : source.readPart(name, selection, options),
    async readInto(name, target) {
      const parts = joined.get(name);
      if (!parts) return source.readInto(name, target);
      let end = 0;
      const reads = parts.map((part) => {
        const start = end;
        end += source.info(part).bytes;
        return source.readInto(part, target.subarray(start, end));
      });
      await Promise.all(reads);
    },
    async readMany(names, onTensor, options) {
      const wanted = [...new Set(names)];
      await source.readMany(
        wanted.filter((name) => !joined.has(name)),
        onTensor,
        options,
      );
      for (const name of wanted.filter((each) => joined.has(each))) await onTensor(name, await read(name, options));
    },
  });
}
