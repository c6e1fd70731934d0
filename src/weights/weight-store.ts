/**
 * A model's weights on a backend: every tensor uploaded once, shared by all programs and all requests. What a program does
 * with them is written in its graph; which file they come from is known to the `WeightSource`.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { Backend, DeviceTensor } from '../runtime/backend.ts';
import { StoredTensor } from '../runtime/stored-tensor.ts';
import { bytesPerElement } from '../tensor/dtype.ts';
import { isAll } from '../tensor/selection.ts';
import { type Shape, sizeOf, type Tensor } from '../tensor/tensor.ts';
import { heldSource, heldTensor, requireProduct, storedTensor } from './formats/held-parts.ts';
import { partName, partsOf, type WeightFormat } from './formats/weight-format.ts';
import { LoraWeights } from './lora/lora-weights.ts';
import type { WeightBuckets } from './offload/weight-buckets.ts';
import { isNarrowFloat, type ReadOptions } from './safetensors/safetensors-data.ts';
import type { WeightInfo } from './weight-info.ts';
import { isPart, type WeightSource } from './weight-source.ts';

/** A matrix in parts: what it stands for, and the tensors that hold it. */
export interface QuantizedTensor {
  readonly format: WeightFormat;
  /** [out, in]. */
  readonly shape: Shape;
  readonly parts: Readonly<Record<string, Tensor>>;
}

/** Weights on a backend, as models use them. */
export interface Weights {
  /** File or folder, for error messages. */
  readonly origin: string;
  /** Bytes of all weights as they are held now. */
  readonly bytes: number;
  /** Of the tensors that hold them. */
  readonly names: readonly string[];
  has(name: string): boolean;
  /** @param expected what the architecture expects; checkpoints ignore it, weights made up for a benchmark need it */
  info(name: string, expected?: Shape): WeightInfo | undefined;
  get(name: string): DeviceTensor;
  /** Reads those of the weights that are still in their files. Absent where none is. */
  fetch?(names: readonly string[]): Promise<void>;
  /**
   * While set, receives what linear layers multiply with each weight, [1 + rows, in]: the largest magnitude of every input, and a
   * few of the rows. Graphs that were built before must be built anew.
   */
  observer?: ((weight: string, activations: DeviceTensor) => void) | undefined;
  /** What LoRAs add; none where they cannot be loaded. */
  readonly lora?: LoraWeights;
  /** Weights that are in memory only while a program needs them; `get` has all others. */
  readonly offloaded?: WeightBuckets;
  dispose(): void | Promise<void>;
}

export interface WeightStoreOptions {
  backend: Backend;
  /** File or folder, for error messages. */
  origin: string;
  /**
   * `float32` widens bfloat16 and float16 while loading: fastest on CPU. `stored` keeps them as they are, half the memory,
   * and widens inside the graphs at every run. Default `float32`.
   */
  weightDtype?: 'float32' | 'stored';
  /** Which tensors to load. Default: all. */
  reads?: ((name: string) => boolean) | undefined;
  signal?: AbortSignal | undefined;
}

export class WeightStore implements Weights {
  readonly origin: string;
  observer: Weights['observer'];
  readonly lora: LoraWeights;
  private readonly tensors = new Map<string, DeviceTensor>();
  private readonly quantized = new Map<string, WeightInfo>();
  /** Of weights that are read when they are needed. */
  private source: WeightSource | undefined;
  private fetching: Promise<void> = Promise.resolve();

  private constructor(
    readonly backend: Backend,
    origin: string,
  ) {
    this.origin = origin;
    this.lora = new LoraWeights(backend);
  }

  /** Reads all tensors of a source, in file order, and uploads each as it arrives. */
  static async load(files: WeightSource, options: WeightStoreOptions): Promise<WeightStore> {
    const { signal } = options;
    const { store, source, plain, parts, widen } = WeightStore.open(files, options);
    try {
      await source.readMany(plain, (name, tensor) => store.set(name, tensor), { widen, signal });
      await source.readMany(parts, (name, tensor) => store.set(name, tensor), { signal });
    } catch (error) {
      await store.dispose();
      throw error;
    }
    return store;
  }

  /** Leaves all tensors where they are until they are needed. The source is the store's from here on, which closes it. */
  static defer(files: WeightSource, options: WeightStoreOptions): WeightStore {
    const { store, source, plain, parts, widen } = WeightStore.open(files, options);
    store.source = source;
    const add = (name: string, read: ReadOptions) => {
      const { dtype, shape } = source.info(name);
      const held = read.widen && isNarrowFloat(dtype) ? 'float32' : dtype;
      store.tensors.set(
        name,
        new StoredTensor(held, shape, (selection) =>
          isAll(selection) ? source.read(name, read) : source.readPart(name, selection, read),
        ),
      );
    };
    for (const name of plain) add(name, { widen });
    for (const name of parts) add(name, {});
    return store;
  }

  private static open(
    files: WeightSource,
    { backend, origin, weightDtype = 'float32', reads = () => true }: WeightStoreOptions,
  ) {
    const source = heldSource(files, backend.capabilities);
    const store = new WeightStore(backend, origin);
    // Parts stay as they are: the bits of a float8 code are what its format reads.
    const parts = new Set<string>();
    for (const [weight, { format, shape }] of source.quantized ?? []) {
      if (!reads(weight)) continue;
      store.quantized.set(weight, { dtype: 'float32', shape, format });
      for (const part of Object.keys(partsOf(format, shape))) parts.add(partName(weight, part));
    }
    const plain = source.names.filter((name) => !isPart(source, name) && reads(name));
    const widen = weightDtype === 'float32' ? ('float32' as const) : undefined;
    return { store, source, plain, parts, widen };
  }

  get names(): string[] {
    return [...this.tensors.keys()];
  }

  /** Bytes of all weights as they are held now, and of LoRAs. Those that are still in files take none. */
  get bytes(): number {
    let total = this.lora.bytes;
    for (const tensor of this.tensors.values())
      if (!(tensor instanceof StoredTensor)) total += sizeOf(tensor.shape) * bytesPerElement(tensor.dtype);
    return total;
  }

  has(name: string): boolean {
    return this.tensors.has(name) || this.quantized.has(name);
  }

  info(name: string): WeightInfo | undefined {
    return this.quantized.get(name) ?? this.tensors.get(name);
  }

  /** Weights that are held quantised. */
  get quantizedNames(): string[] {
    return [...this.quantized.keys()];
  }

  get(name: string): DeviceTensor {
    const tensor = this.tensors.get(name) ?? this.lora.get(name);
    if (!tensor)
      throw new DejaDitError('MISSING_WEIGHT', `the checkpoint has no tensor '${name}'`, { path: this.origin });
    return tensor;
  }

  fetch(names: readonly string[]): Promise<void> {
    const fetched = this.fetching.then(async () => {
      for (const name of names) {
        const tensor = this.tensors.get(name);
        if (tensor instanceof StoredTensor) this.set(name, await tensor.read([]));
      }
    });
    this.fetching = fetched.catch(() => undefined);
    return fetched;
  }

  /** A tensor on the host, as files have it. Not to be changed: on a CPU it may be the store's own memory. */
  async read(name: string): Promise<Tensor> {
    const held = this.get(name);
    const tensor = await (held instanceof StoredTensor ? held.read([]) : this.backend.download(held));
    return storedTensor({ name, tensor, formats: this.quantized });
  }

  /** Adds or replaces a weight; the store owns the tensor's memory from here on. */
  set(name: string, tensor: Tensor): void {
    this.tensors.get(name)?.dispose();
    this.tensors.set(name, this.backend.upload(tensor, { transfer: true }));
  }

  /** Replaces a weight by its parts, whose memory the store owns from here on. Graphs that were built before must be built anew. */
  setQuantized(name: string, { format, shape, parts }: QuantizedTensor): void {
    requireProduct(name, format, this.backend.capabilities);
    this.delete(name);
    this.quantized.set(name, { dtype: 'float32', shape, format });
    for (const [part, tensor] of Object.entries(parts)) {
      const stored = { name: partName(name, part), tensor, formats: this.quantized };
      this.set(stored.name, heldTensor(stored, this.backend.capabilities));
    }
  }

  delete(name: string): void {
    this.tensors.get(name)?.dispose();
    this.tensors.delete(name);
  }

  async dispose(): Promise<void> {
    for (const tensor of this.tensors.values()) tensor.dispose();
    this.tensors.clear();
    this.quantized.clear();
    this.lora.dispose();
    await this.fetching;
    await this.source?.close();
  }
}
