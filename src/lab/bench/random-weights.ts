/** Weights made up on demand, so that a model of any size can be timed without a checkpoint. */
import type { Backend, DeviceTensor } from '../../runtime/backend.ts';
import { disposeTensors } from '../../runtime/tensor-table.ts';
import { fromFloat32 } from '../../tensor/convert.ts';
import { allocate, bytesPerElement } from '../../tensor/dtype.ts';
import { floatTensor, type Shape, sizeOf, Tensor } from '../../tensor/tensor.ts';
import { heldTensor } from '../../weights/formats/held-parts.ts';
import { type FormatOf, type PartSpec, partName, partsOf } from '../../weights/formats/weight-format.ts';
import type { WeightInfo } from '../../weights/weight-info.ts';
import type { Weights } from '../../weights/weight-store.ts';

/** Formats whose parts are codes of any value, and scales. */
export type RandomFormat = FormatOf<'int8' | 'block'>;

export interface RandomWeightsOptions {
  /** The type that they are held in. Default: float32. */
  dtype?: 'float32' | 'float16' | undefined;
  /**
   * The format that a matrix is held in, whose codes are made up as they are: no weight is ever there in more bits. Default: none.
   */
  formatOf?: ((name: string, shape: Shape) => RandomFormat | undefined) | undefined;
}

export class RandomWeights implements Weights {
  readonly origin = 'random weights';
  private readonly tensors = new Map<string, DeviceTensor>();
  private readonly quantized = new Map<string, WeightInfo & { format: RandomFormat }>();
  private readonly random = randomBits();

  constructor(
    private readonly backend: Backend,
    private readonly options: RandomWeightsOptions = {},
  ) {}

  /** Of the tensors that hold the weights that have been asked for. */
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

  info(name: string, expected?: Shape): WeightInfo | undefined {
    const known = this.quantized.get(name) ?? this.tensors.get(name);
    return known ?? (expected && this.make(name, expected));
  }

  get(name: string): DeviceTensor {
    return this.tensors.get(name)!;
  }

  dispose(): void {
    disposeTensors(this.tensors.values());
    this.tensors.clear();
    this.quantized.clear();
  }

  private make(name: string, shape: Shape): WeightInfo {
    const { dtype = 'float32', formatOf } = this.options;
    const format = formatOf?.(name, shape);
    if (!format) return this.add(name, this.numbers({ dtype, shape }, 1 / Math.sqrt(shape.at(-1) ?? 1)));
    const info = { dtype: 'float32', shape, format } as const;
    this.quantized.set(name, info);
    // With such a scale the weights are as large as plain ones.
    const scale = 1 / (2 ** (format.kind === 'int8' ? 7 : format.bits - 1) * Math.sqrt(shape[1]!));
    for (const [part, spec] of Object.entries(partsOf(format, shape)))
      this.add(partName(name, part), part === 'codes' ? this.codes(spec) : filled(spec, scale));
    return info;
  }

  private add(name: string, tensor: Tensor): DeviceTensor {
    const held = heldTensor({ name, tensor, formats: this.quantized }, this.backend.capabilities);
    const uploaded = this.backend.upload(held, { transfer: true });
    this.tensors.set(name, uploaded);
    return uploaded;
  }

  /** Small values without denormals or overflow. */
  private numbers({ dtype, shape }: PartSpec, scale: number): Tensor {
    const data = new Float32Array(sizeOf(shape));
    for (let i = 0; i < data.length; i++) data[i] = (this.random() / 2 ** 31) * scale;
    return new Tensor(dtype, fromFloat32(dtype, data), shape);
  }

  private codes({ dtype, shape }: PartSpec): Tensor {
    const data = allocate(dtype, sizeOf(shape));
    const words = new Int32Array(data.buffer, data.byteOffset, data.byteLength >> 2);
    for (let i = 0; i < words.length; i++) words[i] = this.random();
    return new Tensor(dtype, data, shape);
  }
}

function filled({ shape }: PartSpec, value: number): Tensor {
  return floatTensor(new Float32Array(sizeOf(shape)).fill(value), shape);
}

/** 32 bits a call, by Marsaglia's xorshift: codes of 4 bits need low bits that differ too. */
function randomBits(): () => number {
  let state = 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state;
  };
}
