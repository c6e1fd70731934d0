/** The handles that a backend has given out, and the memory behind them: shared by reference count, counted for `Backend.live`. */
import { DejaDitError } from '../errors/errors.ts';
import { bytesPerElement, type DType } from '../tensor/dtype.ts';
import { type Shape, sizeOf } from '../tensor/tensor.ts';
import type { DeviceTensor } from './backend.ts';

/** Memory on a device, whatever the backend knows it by. */
interface Block<Memory> {
  readonly memory: Memory;
  readonly bytes: number;
  /** Handles, and runs that use it. */
  holders: number;
}

export class TensorTable<Memory> {
  /** Handles that have not been disposed. */
  tensors = 0;
  /** Of the memory behind them. */
  bytes = 0;

  /** @param free called when the last handle of a tensor is gone */
  constructor(private readonly free: (memory: Memory) => void) {}

  /** The first handle of new memory. */
  adopt(memory: Memory, { dtype, shape }: { dtype: DType; shape: Shape }): DeviceTensor {
    const bytes = sizeOf(shape) * bytesPerElement(dtype);
    this.bytes += bytes;
    return this.handle({ memory, bytes, holders: 0 }, dtype, shape);
  }

  /** @throws DejaDitError DISPOSED, or INVALID_ARGUMENT for another backend's tensor */
  memoryOf(tensor: DeviceTensor): Memory {
    return this.blockOf(tensor).memory;
  }

  /** Whether a tensor is one of these, disposed or not. */
  owns(tensor: DeviceTensor): boolean {
    return tensor instanceof Handle && tensor.table === this;
  }

  /** Keeps the memory of tensors while `work` runs, even if they are disposed meanwhile. */
  async holding<T>(tensors: readonly DeviceTensor[], work: (memory: Memory[]) => Promise<T>): Promise<T> {
    const blocks = tensors.map((tensor) => this.blockOf(tensor));
    for (const block of blocks) block.holders++;
    try {
      return await work(blocks.map(({ memory }) => memory));
    } finally {
      for (const block of blocks) this.release(block);
    }
  }

  /** For `Handle`. */
  handle(block: Block<Memory>, dtype: DType, shape: Shape): DeviceTensor {
    block.holders++;
    this.tensors++;
    return new Handle(this, block, dtype, shape);
  }

  /** For `Handle`. */
  drop(block: Block<Memory>): void {
    this.tensors--;
    this.release(block);
  }

  private release(block: Block<Memory>): void {
    if (--block.holders > 0) return;
    this.bytes -= block.bytes;
    this.free(block.memory);
  }

  private blockOf(tensor: DeviceTensor): Block<Memory> {
    if (tensor instanceof Handle && tensor.table === this) return (tensor as Handle<Memory>).held;
    throw new DejaDitError('INVALID_ARGUMENT', 'this tensor belongs to another backend');
  }
}

class Handle<Memory> implements DeviceTensor {
  private block: Block<Memory> | undefined;

  constructor(
    readonly table: TensorTable<Memory>,
    block: Block<Memory>,
    readonly dtype: DType,
    readonly shape: Shape,
  ) {
    this.block = block;
  }

  get held(): Block<Memory> {
    if (!this.block) throw new DejaDitError('DISPOSED', `this tensor [${this.shape}] was disposed`);
    return this.block;
  }

  retain(): DeviceTensor {
    return this.table.handle(this.held, this.dtype, this.shape);
  }

  dispose(): void {
    const { block } = this;
    this.block = undefined;
    if (block) this.table.drop(block);
  }
}

type Tensors = Readonly<Record<string, DeviceTensor>>;

/** Disposes several tensors. */
export function disposeTensors(tensors: Iterable<DeviceTensor | undefined> | Tensors): void {
  const list = Symbol.iterator in tensors ? tensors : Object.values(tensors as Tensors);
  for (const tensor of list as Iterable<DeviceTensor | undefined>) tensor?.dispose();
}
