/** DPM-Solver in groups of model calls: each group of two or three starts over from where the last one ended. */
import * as z from 'zod';
import { parseConfig } from '../config.ts';
import { type AdvanceInput, type AdvanceResult, weightedSum } from '../scheduler-base.ts';
import { DPMSolverScheduler, dpmSolverFields } from './dpm-solver-scheduler.ts';
import { dpmSolverWeights } from './dpm-solver-update.ts';

const fields = {
  ...dpmSolverFields,
  algorithm_type: z.enum(['dpmsolver++', 'dpmsolver', 'sde-dpmsolver++']).default('dpmsolver++'),
  lower_order_final: z.boolean().default(false),
};

export class DPMSolverSinglestepScheduler extends DPMSolverScheduler {
  readonly className = 'DPMSolverSinglestepScheduler';
  readonly config;
  /** Where the current group started, and its converted model outputs so far, first to last. */
  #group: { sample: Float32Array; outputs: Float32Array[] } | undefined;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
    this.checkConfig();
  }

  clone(): DPMSolverSinglestepScheduler {
    return new DPMSolverSinglestepScheduler(this.config);
  }

  protected override forget(): void {
    this.#group = undefined;
  }

  protected advance(input: AdvanceInput): AdvanceResult {
    const { sample, index } = input;
    const converted = this.convert(input);
    const noise = this.freshNoise(input);
    // Entered in the middle of a group, the schedule starts with a group of its own.
    const continued = this.#group && this.#placeOf(index) > 1 ? this.#group : undefined;
    const start = continued?.sample ?? sample;
    const outputs = [...(continued?.outputs ?? []), converted];

    const [to, from] = [this.level(index + 1), this.level(index + 1 - outputs.length)];
    const weights = dpmSolverWeights(this.config.algorithm_type, { from, to });
    const terms: [number, Float32Array][] = [[weights.sample, start]];
    if (noise) terms.push([weights.noise, noise]);
    /** Position of an earlier level within the step, 0 to 1. */
    const position = (at: number) => (this.level(at).lambda - from.lambda) / (to.lambda - from.lambda);
    const [m0, m1, m2] = outputs;
    const midpoint = this.config.solver_type === 'midpoint';
    if (outputs.length === 1) terms.push([weights.d0, m0!]);
    if (outputs.length === 2) {
      const slope = (midpoint ? weights.d1Midpoint : weights.d1) / position(index);
      terms.push([weights.d0 - slope, m0!], [slope, m1!]);
    }
    if (outputs.length === 3) {
      // Divided differences from the start: near = (m1 - m0) / r1, far = (m2 - m0) / r0.
      const [r0, r1] = [position(index), position(index - 1)];
      const near = midpoint ? 0 : (weights.d1 * r0 - 2 * weights.d2) / (r0 - r1);
      const far = midpoint ? weights.d1 : (2 * weights.d2 - weights.d1 * r1) / (r0 - r1);
      terms.push([weights.d0 - near / r1 - far / r0, m0!], [near / r1, m1!], [far / r0, m2!]);
    }
    this.#group = { sample: start, outputs };
    return {
      prevSample: weightedSum(...terms),
      ...(this.predictsOriginal && { predOriginalSample: converted }),
    };
  }

  /**
   * Place of a model call in its group, from 1. Groups are `solver_order` long; at the end they are cut short, also
   * where the configuration does not ask for it but the number of steps or a last sigma of 0 requires it.
   */
  #placeOf(index: number): number {
    const { solver_order: order, lower_order_final: lowers, final_sigmas_type: final } = this.config;
    const count = this.timesteps.length;
    const cutShort = final === 'zero' || (lowers && count % order === 0);
    return index === count - 1 && cutShort ? 1 : (index % order) + 1;
  }
}
