/**
 * The low-rank pairs of LoRAs (arXiv 2106.09685) beside a model's own weights, which they do not change: y = W·x + up·(down·x). They
 * are always in memory. Reading them is up to `lora-file.ts`, computing with them to `linear`.
 */
import type { Backend, DeviceTensor } from '../../runtime/backend.ts';
import { sizeOf, type Tensor } from '../../tensor/tensor.ts';

/** What an adapter adds to one linear layer, in float32. */
export interface LowRankPair {
  /** [rank, in]. */
  readonly down: Tensor;
  /** [out, rank], strength and alpha / rank multiplied in. */
  readonly up: Tensor;
}

type Part = keyof LowRankPair;
const parts: readonly Part[] = ['down', 'up'];

/** Adapters by name, in the order in which they were set. */
export class LoraWeights {
  private readonly adapters = new Map<string, Map<string, DeviceTensor>>();

  constructor(private readonly backend: Backend) {}

  get names(): string[] {
    return [...this.adapters.keys()];
  }

  get bytes(): number {
    let total = 0;
    for (const tensors of this.adapters.values()) for (const { shape } of tensors.values()) total += 4 * sizeOf(shape);
    return total;
  }

  /** The tensors' names, a pair for each adapter that the weight has. */
  pairs(weight: string): Readonly<Record<Part, string>>[] {
    return [...this.adapters].flatMap(([adapter, tensors]) => {
      const [down, up] = parts.map((part) => tensorName(weight, part, adapter)) as [string, string];
      return tensors.has(down) ? [{ down, up }] : [];
    });
  }

  get(name: string): DeviceTensor | undefined {
    for (const tensors of this.adapters.values()) {
      const tensor = tensors.get(name);
      if (tensor) return tensor;
    }
    return undefined;
  }

  /** Adds or replaces an adapter, by names of weights. Graphs that were built before must be built anew. */
  set(adapter: string, pairs: ReadonlyMap<string, LowRankPair>): void {
    this.delete(adapter);
    const tensors = new Map<string, DeviceTensor>();
    this.adapters.set(adapter, tensors);
    for (const [weight, pair] of pairs)
      for (const part of parts) tensors.set(tensorName(weight, part, adapter), this.backend.upload(pair[part]));
  }

  /** Takes an adapter out, if there is one of that name. Graphs that were built before must be built anew. */
  delete(adapter: string): void {
    for (const tensor of this.adapters.get(adapter)?.values() ?? []) tensor.dispose();
    this.adapters.delete(adapter);
  }

  dispose(): void {
    for (const adapter of this.names) this.delete(adapter);
  }
}

/** It begins with the weight's name, so that offloading counts it to the weight's block. */
function tensorName(weight: string, part: Part, adapter: string): string {
  return `${weight}.lora_${part}.${adapter}`;
}
