/** Tensors in host memory: sessions read and write it in place. */
import type { Tensor as OrtTensor } from 'onnxruntime-common';
import type { Shape, Tensor } from '../../tensor/tensor.ts';
import { freeMemory } from './free-memory.ts';
import type { OrtModule } from './ort-backend.ts';
import type { TensorMemory, TensorPlace } from './tensor-memory.ts';

export function hostPlace(ort: OrtModule): TensorPlace {
  return {
    sessionOptions: {},
    upload: (tensor, own) => new HostMemory(wrap(ort, tensor), own),
    adopt: (result) => new HostMemory(result, true),
    dispose: async () => undefined,
  };
}

/** A host tensor as ONNX Runtime's, in the same memory. */
export function wrap(ort: OrtModule, { dtype, data, shape }: Tensor): OrtTensor {
  // bfloat16 and float8 cannot cross the boundary; graphs take their bits as unsigned integers of the same width.
  const carrier = dtype === 'bfloat16' ? 'uint16' : dtype.startsWith('float8') ? 'uint8' : dtype;
  const Constructor = ort.Tensor as new (type: string, data: Tensor['data'], dims: Shape) => OrtTensor;
  return new Constructor(carrier, data, shape);
}

export class HostMemory implements TensorMemory {
  /** @param own whether nobody else can see it: it came from a run or was given up by its owner, and no read has handed it out */
  constructor(
    private readonly tensor: OrtTensor,
    private own: boolean,
  ) {}

  ort(): OrtTensor {
    return this.tensor;
  }

  async read(copy: boolean): Promise<Tensor['data']> {
    const data = this.tensor.data as Tensor['data'];
    if (copy) return data.slice();
    this.own = false;
    return data;
  }

  free(): void {
    if (this.own) freeMemory(this.tensor.data as Tensor['data']);
  }
}
