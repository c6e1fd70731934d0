/**
 * The tensors that a request remembers for one block group and guidance branch: what the middle blocks added on the latest
 * computed steps, and the probes of those steps. Dropped with the request.
 */
import type { DeviceTensor } from '../runtime/backend.ts';
import { bytesPerElement } from '../tensor/dtype.ts';
import { sizeOf } from '../tensor/tensor.ts';
import type { Gram } from './forecasters/gram.ts';

export interface Snapshot {
  step: number;
  /** What the first blocks added on that step. */
  probe: DeviceTensor;
  /** What the middle blocks added (or returned). */
  hidden: DeviceTensor;
  /** The same of the encoder stream, where it changes. */
  encoder: DeviceTensor | undefined;
}

export class BranchMemory {
  /** Newest first. */
  readonly snapshots: Snapshot[] = [];
  /** Step of the first snapshot since the memory was cleared. */
  first: number | undefined;
  /** Shapes of the inputs that the snapshots belong to. */
  shapes = '';
  /** Per batch element: Gram matrix of the remembered middle tensors, newest first. */
  residualGram: Gram[] | undefined;

  get newest(): Snapshot | undefined {
    return this.snapshots[0];
  }

  get bytes(): number {
    let total = 0;
    for (const { probe, hidden, encoder } of this.snapshots) {
      for (const tensor of [probe, hidden, encoder]) {
        if (tensor) total += sizeOf(tensor.shape) * bytesPerElement(tensor.dtype);
      }
    }
    return total;
  }

  /** @param limit snapshots kept, this one included */
  add(snapshot: Snapshot, limit: number): void {
    this.first ??= snapshot.step;
    this.snapshots.unshift(snapshot);
    while (this.snapshots.length > limit) free(this.snapshots.pop()!);
  }

  clear(): void {
    for (const snapshot of this.snapshots) free(snapshot);
    this.snapshots.length = 0;
    this.first = undefined;
    this.residualGram = undefined;
  }
}

function free({ probe, hidden, encoder }: Snapshot): void {
  probe.dispose();
  hidden.dispose();
  encoder?.dispose();
}
