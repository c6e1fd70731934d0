/**
 * Where a model's weights come from, seen by the model: a set of named tensors that are read when asked for. One file,
 * many shards and tensors in memory look alike. Which files make up a model is `open-weights.ts`.
 */
import { DejaDitError, nearestName, throwIfAborted } from '../errors/errors.ts';
import { quote } from '../errors/printable.ts';
import type { OpenedFile } from '../files/files.ts';
import { type Selection, select } from '../tensor/selection.ts';
import { type Shape, Tensor } from '../tensor/tensor.ts';
import type { WeightFormat } from './formats/weight-format.ts';
import {
  isNarrowFloat,
  type ReadOptions,
  readInto,
  readSelected,
  readTensors,
} from './safetensors/safetensors-data.ts';
import { openWithHeader, type TensorInfo } from './safetensors/safetensors-header.ts';
import type { StoredWeightInfo } from './weight-info.ts';

export type OnTensor = (name: string, tensor: Tensor) => void | Promise<void>;

export interface ReadManyOptions extends ReadOptions {
  /** Called after each tensor with the stored bytes read so far. */
  onProgress?: ((progress: { bytes: number; totalBytes: number }) => void) | undefined;
}

export interface WeightSource {
  /** File after file, in the order of the data. */
  readonly names: readonly string[];
  /** Weights that are stored quantised, by their own names; `names` has their parts instead. */
  readonly quantized?: ReadonlyMap<string, { format: WeightFormat; shape: Shape }>;
  has(name: string): boolean;
  /** @throws DejaDitError `MISSING_WEIGHT` */
  info(name: string): StoredWeightInfo;
  /** One tensor, in memory of its own. @throws DejaDitError `MISSING_WEIGHT` */
  read(name: string, options?: ReadOptions): Promise<Tensor>;
  /** The selected elements of a tensor, as `read` gives them. Where the file's layout allows it, nothing else is read. */
  readPart(name: string, selection: Selection, options?: ReadOptions): Promise<Tensor>;
  /**
   * Copies a tensor's stored bytes into the caller's memory of that size. Nothing is awaited before the first read is asked for,
   * so that it goes on while the calling thread computes.
   */
  readInto(name: string, target: Uint8Array): Promise<void>;
  /**
   * Streams tensors in file order with few large reads; each owns its memory, and nothing else of size is kept, so peak
   * memory is what the caller keeps plus the largest tensor. All names are checked before anything is read.
   * @throws DejaDitError `MISSING_WEIGHT`, or `ABORTED` between two reads
   */
  readMany(names: Iterable<string>, onTensor: OnTensor, options?: ReadManyOptions): Promise<void>;
  close(): Promise<void>;
  /** Absent where all is stored as numbers. */
  readonly stored?: StoredFormats;
}

/** A source whose weights are stored in fewer bits, and read as numbers. */
export interface StoredFormats {
  /** Whether they are so many that they should not be widened unless that is asked for. */
  readonly preferred: boolean;
  /**
   * The same weights, but these in the formats that they are stored in, as far as there are such. It is closed with the source.
   * @param weights those that linear layers multiply with
   */
  hold(weights: ReadonlySet<string>): WeightSource;
}

/** A source that differs from another in a few members, and is closed with it. Parts are cut from what it reads, unless it says how to read them. */
export function derivedSource(source: WeightSource, changes: Partial<WeightSource>): WeightSource {
  const { read } = changes;
  return {
    names: source.names,
    ...(source.quantized ? { quantized: source.quantized } : {}),
    ...(source.stored ? { stored: source.stored } : {}),
    has: (name) => source.has(name),
    info: (name) => source.info(name),
    read: (name, options) => source.read(name, options),
    readPart: async (name, selection, options) =>
      read ? select(await read(name, options), selection) : source.readPart(name, selection, options),
    readInto: (name, target) => source.readInto(name, target),
    readMany: (names, onTensor, options) => source.readMany(names, onTensor, options),
    close: () => source.close(),
    ...changes,
  };
}

/**
 * Opens one or several safetensors files as one source.
 * @throws DejaDitError `INVALID_FILE` for a damaged file or a tensor that is in two of them
 */
export async function openSafetensors(pathOrPaths: string | readonly string[]): Promise<WeightSource> {
  const paths = typeof pathOrPaths === 'string' ? [pathOrPaths] : pathOrPaths;
  const files = new Map<string, OpenedFile>();
  const infos = new Map<string, TensorInfo>();
  try {
    for (const path of paths) {
      const { file, header } = await openWithHeader(path);
      files.set(path, file);
      for (const [name, info] of header.tensors) {
        const other = infos.get(name);
        if (other) {
          throw new DejaDitError('INVALID_FILE', `tensor ${quote(name)} is also in ${other.file}`, { path });
        }
        infos.set(name, info);
      }
    }
  } catch (error) {
    await closeAll(files);
    throw error;
  }
  return fileSource(files, infos);
}

/** Tensors at places in open files, which are closed with it. */
export function fileSource(
  files: ReadonlyMap<string, OpenedFile>,
  tensors: ReadonlyMap<string, TensorInfo>,
): WeightSource {
  return new FileSource(files, tensors);
}

class FileSource implements WeightSource {
  readonly names: readonly string[];
  readonly #files: ReadonlyMap<string, OpenedFile>;
  readonly #infos: ReadonlyMap<string, TensorInfo>;
  #closed = false;

  constructor(files: ReadonlyMap<string, OpenedFile>, infos: ReadonlyMap<string, TensorInfo>) {
    this.names = [...infos.keys()];
    this.#files = files;
    this.#infos = infos;
  }

  has(name: string): boolean {
    return this.#infos.has(name);
  }

  info(name: string): TensorInfo {
    return this.#infos.get(name) ?? missing(name, this.names, [...this.#files.keys()].join(', '));
  }

  async read(name: string, options: ReadOptions = {}): Promise<Tensor> {
    const found: Tensor[] = [];
    await this.readMany([name], (_, tensor) => void found.push(tensor), options);
    return found[0]!;
  }

  async readPart(name: string, selection: Selection, options: ReadOptions = {}): Promise<Tensor> {
    const info = this.info(name);
    if (info.shape.length === 0) return this.read(name, options);
    return readSelected(this.#files.get(info.file)!, { name, info, selection }, options);
  }

  async readInto(name: string, target: Uint8Array): Promise<void> {
    const info = this.info(name);
    await readInto(target, { opened: this.#files.get(info.file)!, name, info });
  }

  async readMany(names: Iterable<string>, onTensor: OnTensor, options: ReadManyOptions = {}): Promise<void> {
    const wanted = [...new Set(names)].map((name) => [name, this.info(name)] as const);
    const handOver = withProgress(onTensor, wanted, options);
    for (const [path, file] of this.#files) {
      if (this.#closed) throw new DejaDitError('DISPOSED', 'was closed while its weights are still read', { path });
      const inThisFile = wanted.filter(([, info]) => info.file === path);
      await readTensors(file, inThisFile, { ...options, onTensor: handOver });
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await closeAll(this.#files);
  }
}

async function closeAll(files: ReadonlyMap<string, OpenedFile>): Promise<void> {
  await Promise.all([...files.values()].map((file) => file.close()));
}

/** Tensors that are already in memory, under the interface of files: each read gives a copy that the reader owns. */
export function memoryWeights(tensors: Readonly<Record<string, Tensor>>): WeightSource {
  const held = new Map(Object.entries(tensors));
  const names = [...held.keys()];
  const get = (name: string): Tensor => held.get(name) ?? missing(name, names, 'memory');
  const info = (name: string): StoredWeightInfo => {
    const { dtype, shape, bytes } = get(name);
    return { dtype, shape, bytes, file: 'memory' };
  };
  const read = (name: string, { widen }: ReadOptions) => {
    const tensor = get(name);
    if (widen && isNarrowFloat(tensor.dtype)) return tensor.float();
    return new Tensor(tensor.dtype, tensor.data.slice(), tensor.shape);
  };
  return {
    names,
    info,
    has: (name) => held.has(name),
    read: async (name, options = {}) => read(name, options),
    readPart: async (name, selection, options = {}) => select(read(name, options), selection),
    async readInto(name, target) {
      const { buffer, byteOffset, byteLength } = get(name).data;
      target.set(new Uint8Array(buffer, byteOffset, byteLength));
    },
    async readMany(wantedNames, onTensor, options = {}) {
      const wanted = [...new Set(wantedNames)].map((name) => [name, info(name)] as const);
      const handOver = withProgress(onTensor, wanted, options);
      for (const [name] of wanted) {
        throwIfAborted(options.signal);
        await handOver(name, read(name, options));
      }
    },
    close: async () => {},
  };
}

function withProgress(
  onTensor: OnTensor,
  wanted: readonly (readonly [string, StoredWeightInfo])[],
  { onProgress }: ReadManyOptions,
): OnTensor {
  if (!onProgress) return onTensor;
  const sizes = new Map(wanted.map(([name, info]) => [name, info.bytes]));
  const totalBytes = wanted.reduce((sum, [, info]) => sum + info.bytes, 0);
  let bytes = 0;
  return async (name, tensor) => {
    await onTensor(name, tensor);
    bytes += sizes.get(name)!;
    onProgress({ bytes, totalBytes });
  };
}

function missing(name: string, known: readonly string[], path: string): never {
  const nearest = nearestName(name, known);
  const hint = nearest === undefined ? '' : `, nearest is ${quote(nearest)}`;
  throw new DejaDitError('MISSING_WEIGHT', `no tensor ${quote(name)}${hint}`, { path });
}

/** Whether a tensor is one of the parts in which a quantised weight is stored: `<weight>.<part>`. */
export function isPart(source: WeightSource, name: string): boolean {
  return source.quantized?.has(name.slice(0, name.lastIndexOf('.'))) ?? false;
}
