/**
 * A model's weights on a backend: every tensor uploaded once, shared by all programs and all requests. What a program does
 * with them is written in its graph; which file they come from is known to the `WeightSource`.
 */
import { DejaDitError } from '../errors/errors.ts';
import type { Backend, DeviceTensor } from '../runtime/backend.ts';
import type { DType } from '../tensor/dtype.ts';
import { bytesPerElement } from '../tensor/dtype.ts';
import { type Shape, sizeOf, type Tensor } from '../tensor/tensor.ts';
import type { WeightSource } from './weight-source.ts';

/** Weights on a backend, as models use them. */
export interface Weights {
  /** File or folder, for error messages. */
  readonly origin: string;
  /** Bytes of all weights as they are held now. */
  readonly bytes: number;
  has(name: string): boolean;
  /** @param expected what the architecture expects; checkpoints ignore it, weights made up for a benchmark need it */
  info(name: string, expected?: Shape): { dtype: DType; shape: Shape } | undefined;
  get(name: string): DeviceTensor;
  dispose(): void;
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
  signal?: AbortSignal | undefined;
}

export class WeightStore implements Weights {
  readonly origin: string;
  private readonly tensors = new Map<string, DeviceTensor>();

  private constructor(
    readonly backend: Backend,
    origin: string,
  ) {
    this.origin = origin;
  }

  /** Reads all tensors of a source, in file order, and uploads each as it arrives. */
  static async load(source: WeightSource, options: WeightStoreOptions): Promise<WeightStore> {
    const { backend, origin, weightDtype = 'float32', signal } = options;
    const store = new WeightStore(backend, origin);
    const widen = weightDtype === 'float32' ? 'float32' : undefined;
    try {
      await source.readMany(source.names, (name, tensor) => store.set(name, tensor), { widen, signal });
    } catch (error) {
      store.dispose();
      throw error;
    }
    return store;
  }

  get names(): string[] {
    return [...this.tensors.keys()];
  }

  /** Bytes of all weights as they are held now. */
  get bytes(): number {
    let total = 0;
    for (const { dtype, shape } of this.tensors.values()) total += sizeOf(shape) * bytesPerElement(dtype);
    return total;
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  info(name: string): { dtype: DType; shape: Shape } | undefined {
    return this.tensors.get(name);
  }

  get(name: string): DeviceTensor {
    const tensor = this.tensors.get(name);
    if (!tensor)
      throw new DejaDitError('MISSING_WEIGHT', `the checkpoint has no tensor '${name}'`, { path: this.origin });
    return tensor;
  }

  /** Adds or replaces a weight; the store owns the tensor's memory from here on. */
  set(name: string, tensor: Tensor): void {
    this.tensors.get(name)?.dispose();
    this.tensors.set(name, this.backend.upload(tensor, { transfer: true }));
  }

  delete(name: string): void {
    this.tensors.get(name)?.dispose();
    this.tensors.delete(name);
  }

  dispose(): void {
    for (const tensor of this.tensors.values()) tensor.dispose();
    this.tensors.clear();
  }
}
