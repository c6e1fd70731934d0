/**
 * What LoRAs (arXiv 2106.09685) and their kin add beside a model's own weights, which they do not change. It is always in memory. Reading
 * it is up to `lora-file.ts`, computing with it to `nn/lora.ts`.
 */
import type { Backend, DeviceTensor } from '../../runtime/backend.ts';
import { floatTensor, sizeOf, type Tensor } from '../../tensor/tensor.ts';

/**
 * The tensors of what an adapter adds to one linear layer [out, in] at strength 1, all in float32: a product up · down or left ⊗ right, a
 * bias, and what DoRA needs to know of lengths.
 */
const additionParts = [
  /** [rank, in]. */
  'down',
  /** [out, rank], alpha / rank multiplied in. */
  'up',
  /** [a, b] and [out / a, in / b]. */
  'left',
  'right',
  /** [out]. */
  'bias',
  /** The lengths that DoRA brings the rows of weight + product to, [out]. */
  'magnitude',
  /** Of each row of the weight and of the product, [out]: their squares, and the product of the two. */
  'weightSquares',
  'productSquares',
  'crossProducts',
] as const;
export type AdditionPart = (typeof additionParts)[number];

export type Addition = Readonly<Partial<Record<AdditionPart, Tensor>>>;

/** The tensors of an addition by name, and the input that it is multiplied with. */
export interface AdditionNames {
  readonly tensors: Readonly<Partial<Record<AdditionPart, string>>>;
  readonly strength: string;
}

interface Strength {
  value: number;
  /** The value, a scalar. */
  tensor: DeviceTensor;
}

/** Adapters by name, in the order in which they were set. */
export class LoraWeights {
  private readonly adapters = new Map<string, Map<string, DeviceTensor>>();
  private readonly strengths = new Map<string, Strength>();
  /** Adapters that change a text encoder too, whose strength is the one they were loaded with: requests choose it for transformers only. */
  readonly bound = new Map<string, { component: string; strength: number }>();
  /** All adapters, at the strengths they were set with: what applies unless a request selects its own. */
  readonly loaded = new LoraSelection(this, this.strengths);

  constructor(private readonly backend: Backend) {}

  get names(): string[] {
    return [...this.adapters.keys()];
  }

  get bytes(): number {
    let total = 0;
    for (const tensors of this.adapters.values()) for (const { shape } of tensors.values()) total += 4 * sizeOf(shape);
    return total;
  }

  /** Some of the adapters, for one request; whoever asks disposes it. Names that are not here and strengths of 0 are left out. */
  select(strengths: Readonly<Record<string, number>>): LoraSelection {
    const chosen = this.names.filter((name) => Object.hasOwn(strengths, name) && strengths[name] !== 0);
    return new LoraSelection(this, new Map(chosen.map((name) => [name, this.upload(strengths[name]!)])));
  }

  get(name: string): DeviceTensor | undefined {
    for (const tensors of this.adapters.values()) {
      const tensor = tensors.get(name);
      if (tensor) return tensor;
    }
    return undefined;
  }

  /** Adds or replaces an adapter, by names of weights. Graphs that were built before must be built anew. */
  set(adapter: string, { additions, strength }: { additions: ReadonlyMap<string, Addition>; strength: number }): void {
    this.delete(adapter);
    const tensors = new Map<string, DeviceTensor>();
    this.adapters.set(adapter, tensors);
    for (const [weight, addition] of additions) {
      for (const [part, tensor] of Object.entries(addition) as [AdditionPart, Tensor][])
        tensors.set(tensorName(weight, part, adapter), this.backend.upload(tensor));
    }
    if (strength !== 0) this.strengths.set(adapter, this.upload(strength));
  }

  /** Takes an adapter out, if there is one of that name. Graphs that were built before must be built anew. */
  delete(adapter: string): void {
    for (const tensor of this.adapters.get(adapter)?.values() ?? []) tensor.dispose();
    this.adapters.delete(adapter);
    this.bound.delete(adapter);
    this.strengths.get(adapter)?.tensor.dispose();
    this.strengths.delete(adapter);
  }

  dispose(): void {
    for (const adapter of this.names) this.delete(adapter);
  }

  private upload(value: number): Strength {
    return { value, tensor: this.backend.upload(floatTensor([value], [])) };
  }
}

/** Adapters that apply to a request, each with a strength of its own. */
export class LoraSelection {
  /** @param strengths by adapter, in the order in which the adapters were set */
  constructor(
    readonly weights: Pick<LoraWeights, 'get'>,
    private readonly strengths: ReadonlyMap<string, Strength>,
  ) {}

  get names(): string[] {
    return [...this.strengths.keys()];
  }

  /** Equal for selections that change a model in the same way. */
  get key(): string {
    return JSON.stringify([...this.strengths].map(([name, { value }]) => [name, value]));
  }

  /** The strengths as inputs of graphs, named by place, so that other adapters of the same shapes share programs. */
  get inputs(): [name: string, strength: DeviceTensor][] {
    return [...this.strengths.values()].map(({ tensor }, place) => [strengthName(place), tensor]);
  }

  /** What the adapters add to a weight, one after the other. */
  additions(weight: string): AdditionNames[] {
    return this.names.flatMap((adapter, place) => {
      const held = additionParts.filter((part) => this.weights.get(tensorName(weight, part, adapter)));
      const tensors = Object.fromEntries(held.map((part) => [part, tensorName(weight, part, adapter)]));
      return held.length > 0 ? [{ tensors, strength: strengthName(place) }] : [];
    });
  }

  /** Frees the strengths. */
  dispose(): void {
    for (const { tensor } of this.strengths.values()) tensor.dispose();
  }
}

const strengthName = (place: number): string => `lora.${place}`;

/** It begins with the weight's name, so that offloading counts it to the weight's block. */
function tensorName(weight: string, part: AdditionPart, adapter: string): string {
  return `${weight}.lora_${part}.${adapter}`;
}
