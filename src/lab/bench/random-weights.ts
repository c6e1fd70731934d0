/** Weights made up on demand, so that a model of any size can be timed without a checkpoint. */
import type { Backend, DeviceTensor } from '../../runtime/backend.ts';
import { disposeTensors } from '../../runtime/tensor-table.ts';
import { fromFloat32 } from '../../tensor/convert.ts';
import { bytesPerElement } from '../../tensor/dtype.ts';
import { type Shape, sizeOf, Tensor } from '../../tensor/tensor.ts';
import type { WeightInfo } from '../../weights/weight-info.ts';
import type { Weights } from '../../weights/weight-store.ts';

export class RandomWeights implements Weights {
  readonly origin = 'random weights';
  private readonly tensors = new Map<string, DeviceTensor>();

  /** @param dtype the type that they are held in */
  constructor(
    private readonly backend: Backend,
    private readonly dtype: 'float32' | 'float16' = 'float32',
  ) {}

  /** Weights that have been asked for. */
  get names(): string[] {
    return [...this.tensors.keys()];
  }

  get bytes(): number {
    let total = 0;
    for (const { dtype, shape } of this.tensors.values()) total += bytesPerElement(dtype) * sizeOf(shape);
    return total;
  }

  has(): boolean {
    return true;
  }

  info(name: string, expected: Shape | undefined): WeightInfo | undefined {
    let tensor = this.tensors.get(name);
    if (!tensor && expected) {
      const values = fromFloat32(this.dtype, noise(sizeOf(expected), expected.at(-1)!));
      tensor = this.backend.upload(new Tensor(this.dtype, values, expected));
      this.tensors.set(name, tensor);
    }
    return tensor;
  }

  get(name: string): DeviceTensor {
    return this.tensors.get(name)!;
  }

  dispose(): void {
    disposeTensors(this.tensors.values());
    this.tensors.clear();
  }
}

/** Small values without denormals or overflow; how random they are does not matter to a timer. */
function noise(size: number, fanIn: number): Float32Array {
  const data = new Float32Array(size);
  const scale = 1 / Math.sqrt(fanIn);
  let state = 1;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    data[i] = (state / 2 ** 31) * scale;
  }
  return data;
}
