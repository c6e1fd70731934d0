/**
 * The low-rank pairs of LoRAs (arXiv 2106.09685) beside a model's own weights, which they do not change: y = W·x + up·(down·x). They
 * are always in memory. Reading them is up to `lora-file.ts`, computing with them to `linear`.
 */
import type { Backend, DeviceTensor } from '../../runtime/backend.ts';
import { floatTensor, sizeOf, type Tensor } from '../../tensor/tensor.ts';

/** What an adapter adds to one linear layer at strength 1, in float32. */
export interface LowRankPair {
  /** [rank, in]. */
  readonly down: Tensor;
  /** [out, rank], alpha / rank multiplied in. */
  readonly up: Tensor;
}

/** The tensors of a pair by name, and the input that its product is multiplied with. */
export interface LowRankNames extends Readonly<Record<Part, string>> {
  readonly strength: string;
}

type Part = keyof LowRankPair;
const parts: readonly Part[] = ['down', 'up'];

/** Adapters by name, in the order in which they were set. */
export class LoraWeights {
  private readonly adapters = new Map<string, Map<string, DeviceTensor>>();
  private readonly strengths = new Map<string, DeviceTensor>();
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
  set(adapter: string, { pairs, strength }: { pairs: ReadonlyMap<string, LowRankPair>; strength: number }): void {
    this.delete(adapter);
    const tensors = new Map<string, DeviceTensor>();
    this.adapters.set(adapter, tensors);
    for (const [weight, pair] of pairs)
      for (const part of parts) tensors.set(tensorName(weight, part, adapter), this.backend.upload(pair[part]));
    this.strengths.set(adapter, this.upload(strength));
  }

  /** Takes an adapter out, if there is one of that name. Graphs that were built before must be built anew. */
  delete(adapter: string): void {
    for (const tensor of this.adapters.get(adapter)?.values() ?? []) tensor.dispose();
    this.adapters.delete(adapter);
    this.strengths.get(adapter)?.dispose();
    this.strengths.delete(adapter);
  }

  dispose(): void {
    for (const adapter of this.names) this.delete(adapter);
  }

  private upload(strength: number): DeviceTensor {
    return this.backend.upload(floatTensor([strength], []));
  }
}

/** Adapters that apply to a request, each with a strength of its own. */
export class LoraSelection {
  /** @param strengths scalars by adapter, in the order in which the adapters were set */
  constructor(
    readonly weights: Pick<LoraWeights, 'get'>,
    private readonly strengths: ReadonlyMap<string, DeviceTensor>,
  ) {}

  get names(): string[] {
    return [...this.strengths.keys()];
  }

  /** The strengths as inputs of graphs, named by place, so that other adapters of the same shapes share programs. */
  get inputs(): [name: string, strength: DeviceTensor][] {
    return [...this.strengths.values()].map((strength, place) => [strengthName(place), strength]);
  }

  /** What the adapters add to a weight, one after the other. */
  pairs(weight: string): LowRankNames[] {
    return this.names.flatMap((adapter, place) => {
      const [down, up] = parts.map((part) => tensorName(weight, part, adapter)) as [string, string];
      return this.weights.get(down) ? [{ down, up, strength: strengthName(place) }] : [];
    });
  }

  /** Frees the strengths. */
  dispose(): void {
    for (const strength of this.strengths.values()) strength.dispose();
  }
}

const strengthName = (place: number): string => `lora.${place}`;

/** It begins with the weight's name, so that offloading counts it to the weight's block. */
function tensorName(weight: string, part: Part, adapter: string): string {
  return `${weight}.lora_${part}.${adapter}`;
}
