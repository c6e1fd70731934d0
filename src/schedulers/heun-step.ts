/** Heun's method in two model calls, shared by its flow-matching and its sigma form. */
import { moveAlong } from './scheduler-base.ts';

export interface HeunInput {
  /** Slope dx/dsigma at the current model call. */
  derivative: Float32Array;
  sample: Float32Array;
  /** Where an Euler step goes from here; used by the first of the two calls. */
  dt: number;
}

/**
 * The first call of a pair makes an Euler step, the second goes back and repeats it with the mean of both slopes.
 * Rounded after each operation as Diffusers does.
 */
export class HeunStep {
  #first: HeunInput | undefined;

  reset(): void {
    this.#first = undefined;
  }

  take(input: HeunInput): Float32Array {
    const first = this.#first;
    if (!first) {
      this.#first = input;
      return moveAlong(input.sample, input.derivative, input.dt);
    }
    this.#first = undefined;
    const mean = input.derivative.map((slope, i) => 0.5 * Math.fround(first.derivative[i]! + slope));
    return moveAlong(first.sample, mean, first.dt);
  }
}
