/** DPM-Solver with the model outputs of earlier steps in place of further model calls. */
import * as z from 'zod';
import { roundHalfEven } from '../../tensor/rounding.ts';
import { parseConfig } from '../config.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type AdvanceInput, type AdvanceResult, weightedSum } from '../scheduler-base.ts';
import { spaceSigmas } from '../spacing/sigma-spacing.ts';
import { spaceTimesteps, timestepSpacing } from '../spacing/timestep-spacing.ts';
import { DPMSolverScheduler, dpmSolverFields } from './dpm-solver-scheduler.ts';
import { dpmSolverWeights } from './dpm-solver-update.ts';

const fields = {
  ...dpmSolverFields,
  euler_at_final: z.boolean().default(false),
  /** Evenly spaced lambdas (Lu et al. 2022). */
  use_lu_lambdas: z.boolean().default(false),
  timestep_spacing: timestepSpacing.default('linspace'),
  steps_offset: z.int().min(0).default(0),
  rescale_betas_zero_snr: z.boolean().default(false),
};

/** Schedules this short end in steps of lower order. */
const shortSchedule = 15;

export class DPMSolverMultistepScheduler extends DPMSolverScheduler {
  readonly className = 'DPMSolverMultistepScheduler';
  readonly config;
  /** Converted model outputs, latest first. */
  #outputs: Float32Array[] = [];

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
    this.checkConfig();
  }

  clone(): DPMSolverMultistepScheduler {
    return new DPMSolverMultistepScheduler(this.config);
  }

  protected override forget(): void {
    this.#outputs = [];
  }

  protected override get roundsKarras(): boolean {
    return this.config.beta_schedule !== 'squaredcos_cap_v2';
  }

  protected override spacedTimesteps(count: number, lastStep: number): Float64Array {
    const { timestep_spacing: spacing, steps_offset: stepsOffset, num_train_timesteps: trainSteps } = this.config;
    return spaceTimesteps({ spacing, count, trainSteps, stepsOffset, lastStep, openEnd: true });
  }

  protected override respaced(options: SetTimestepsOptions) {
    if (!this.config.use_lu_lambdas) return super.respaced(options);
    if (options.timesteps) throw this.invalid('takes no timesteps with use_lu_lambdas');
    const sigmas = spaceSigmas('exponential', { ...this.sigmaRange, count: options.numInferenceSteps! });
    const timesteps = this.timestepsOf(sigmas);
    return { sigmas, timesteps: this.roundsKarras ? timesteps.map(roundHalfEven) : timesteps };
  }

  protected advance(input: AdvanceInput): AdvanceResult {
    const { sample, index } = input;
    const order = this.#orderAt(index);
    const converted = this.convert(input);
    const noise = this.freshNoise(input);
    const outputs = [converted, ...this.#outputs].slice(0, this.config.solver_order);

    const [to, from] = [this.level(index + 1), this.level(index)];
    const weights = dpmSolverWeights(this.config.algorithm_type, { from, to });
    const terms: [number, Float32Array][] = [[weights.sample, sample]];
    if (noise) terms.push([weights.noise, noise]);
    const h = to.lambda - from.lambda;
    const [m0, m1, m2] = outputs;
    if (order === 1) terms.push([weights.d0, m0!]);
    if (order === 2) {
      const r0 = (from.lambda - this.level(index - 1).lambda) / h;
      const slope = (this.config.solver_type === 'midpoint' ? weights.d1Midpoint : weights.d1) / r0;
      terms.push([weights.d0 + slope, m0!], [-slope, m1!]);
    }
    if (order === 3) {
      const [lambda1, lambda2] = [this.level(index - 1).lambda, this.level(index - 2).lambda];
      const [r0, r1] = [(from.lambda - lambda1) / h, (lambda1 - lambda2) / h];
      // Divided differences: near = (m0 - m1) / r0, far = (m1 - m2) / r1.
      const near = weights.d1 * (1 + r0 / (r0 + r1)) + weights.d2 / (r0 + r1);
      const far = -(weights.d1 * r0 + weights.d2) / (r0 + r1);
      terms.push([weights.d0 + near / r0, m0!], [far / r1 - near / r0, m1!], [-far / r1, m2!]);
    }
    this.#outputs = outputs;
    return {
      prevSample: weightedSum(...terms),
      ...(this.predictsOriginal && { predOriginalSample: converted }),
    };
  }

  /** As high as history allows, lower at the end of short schedules and for the step to sigma 0. */
  #orderAt(index: number): number {
    const { lower_order_final: lowers, euler_at_final: euler, final_sigmas_type: final } = this.config;
    const stepsLeft = this.timesteps.length - index;
    const short = lowers && this.timesteps.length < shortSchedule;
    let order = Math.min(this.config.solver_order, this.#outputs.length + 1);
    if (stepsLeft === 1 && (euler || short || final === 'zero')) order = 1;
    if (stepsLeft === 2 && short) order = Math.min(order, 2);
    return order;
  }
}
