/**
 * The tensors that a request remembers for one range of blocks and guidance branch: what the range added on the latest computed
 * steps, and the probes of those steps. Dropped with the request.
 */
import type { DeviceTensor } from '../../runtime/backend.ts';
import { bytesPerElement } from '../../tensor/dtype.ts';
import { sizeOf } from '../../tensor/tensor.ts';
import type { Gram } from '../forecasters/gram.ts';

/** What a computed step leaves; the memory takes the tensors over. */
export interface Snapshot {
  step: number;
  /** What the decision compares: what the first blocks added, or the range's input. */
  probe: DeviceTensor;
  /** What the range added (or returned). */
  hidden: DeviceTensor;
  /** The same of the encoder stream, where it changes. */
  encoder: DeviceTensor | undefined;
}

/** How many tensors of each kind are kept. */
export type Limits = Readonly<Record<Stream | 'probe', number>>;

export type Stream = 'hidden' | 'encoder';

export class BranchMemory {
  /** Steps of the remembered tensors, and the tensors; newest first. */
  steps: number[] = [];
  probe: DeviceTensor[] = [];
  hidden: DeviceTensor[] = [];
  encoder: DeviceTensor[] = [];
  /** Step of the first snapshot since the memory was cleared. */
  first: number | undefined;
  /** Shapes of the inputs that the tensors belong to. */
  shapes = '';
  /** Per batch element: Gram matrix of the remembered `hidden` tensors. */
  residualGram: Gram[] | undefined;

  constructor(private readonly limits: Limits) {}

  get isEmpty(): boolean {
    return this.steps.length === 0;
  }

  get bytes(): number {
    return [...this.probe, ...this.hidden, ...this.encoder].reduce((total, tensor) => total + bytesOf(tensor), 0);
  }

  add({ step, probe, hidden, encoder }: Snapshot): void {
    this.first ??= step;
    this.steps = [step, ...this.steps].slice(0, Math.max(...Object.values(this.limits)));
    this.probe = this.remember('probe', probe);
    this.hidden = this.remember('hidden', hidden);
    if (encoder) this.encoder = this.remember('encoder', encoder);
  }

  clear(): void {
    for (const tensor of [...this.probe, ...this.hidden, ...this.encoder]) tensor.dispose();
    Object.assign(this, { steps: [], probe: [], hidden: [], encoder: [], first: undefined, residualGram: undefined });
  }

  private remember(kind: Stream | 'probe', tensor: DeviceTensor): DeviceTensor[] {
    const tensors = [tensor, ...this[kind]];
    for (const old of tensors.splice(this.limits[kind])) old.dispose();
    return tensors;
  }
}

export const bytesOf = ({ dtype, shape }: DeviceTensor): number => sizeOf(shape) * bytesPerElement(dtype);
