/** What the multistep and the singlestep form of DPM-Solver share: options and the schedule. */
import * as z from 'zod';
import { roundHalfEven } from '../../tensor/rounding.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import type { AdvanceInput, Schedule } from '../scheduler-base.ts';
import { linspace } from '../spacing/sigma-spacing.ts';
import { sigmasAt, spaceTimesteps } from '../spacing/timestep-spacing.ts';
import { type Levels, SolverScheduler, solverFields } from './solver-scheduler.ts';

export const dpmSolverFields = {
  ...solverFields,
  algorithm_type: z.enum(['dpmsolver++', 'dpmsolver', 'sde-dpmsolver++', 'sde-dpmsolver']).default('dpmsolver++'),
  solver_type: z.enum(['midpoint', 'heun']).default('midpoint'),
  /** Timesteps of a smaller lambda (more noise) are not visited. */
  lambda_min_clipped: z
    .custom<number>((value) => typeof value === 'number' && !Number.isNaN(value), 'must be a number')
    .default(-Infinity),
  variance_type: z.null('variances predicted by the model are not supported').default(null),
};

type DPMSolverConfig = z.infer<z.ZodObject<typeof dpmSolverFields>>;

export abstract class DPMSolverScheduler extends SolverScheduler {
  abstract override readonly config: Readonly<DPMSolverConfig>;
  protected override readonly takes = ['timesteps', 'mu'] as const;

  protected get predictsOriginal(): boolean {
    return this.config.algorithm_type.endsWith('++');
  }

  override setTimesteps(options: SetTimestepsOptions): void {
    const { use_dynamic_shifting: dynamic, time_shift_type: kind } = this.config;
    if (options.mu !== undefined && !(dynamic && kind === 'exponential')) {
      throw this.invalid("takes mu only with use_dynamic_shifting and time_shift_type 'exponential'");
    }
    super.setTimesteps(options);
  }

  /** Combinations that have no formula; to be called by constructors. */
  protected checkConfig(): void {
    const { algorithm_type: algorithm, final_sigmas_type: final, prediction_type: prediction } = this.config;
    if (!this.predictsOriginal && final === 'zero') {
      throw this.invalidConfig(`algorithm_type '${algorithm}' needs final_sigmas_type 'sigma_min'`);
    }
    if (!this.predictsOriginal && prediction === 'flow_prediction') {
      throw this.invalidConfig(`algorithm_type '${algorithm}' cannot be used with prediction_type 'flow_prediction'`);
    }
    if (algorithm.startsWith('sde-') && this.config.solver_order === 3) {
      throw this.invalidConfig(`algorithm_type '${algorithm}' supports solver_order 1 and 2`);
    }
  }

  /** Timesteps where the configuration asks for nothing special. */
  protected spacedTimesteps(count: number, lastStep: number): Float64Array {
    const trainSteps = this.config.num_train_timesteps;
    return spaceTimesteps({ spacing: 'linspace', count, trainSteps, stepsOffset: 0, lastStep, openEnd: true });
  }

  protected plan(options: SetTimestepsOptions): Schedule {
    const last = this.config.final_sigmas_type === 'zero' ? 0 : this.trainingSigmas[0]!;
    const respaced = this.respaced(options);
    if (respaced) return this.integerSchedule(respaced, last);
    if (this.config.use_flow_sigmas) return this.integerSchedule(this.#flowLevels(options), last);
    const timesteps = this.#timesteps(options);
    return this.integerSchedule({ timesteps, sigmas: sigmasAt(timesteps, this.trainingSigmas) }, last);
  }

  #timesteps({ numInferenceSteps, timesteps }: SetTimestepsOptions): Float64Array {
    if (timesteps) return Float64Array.from(timesteps, Math.trunc);
    const clipped = this.trainingSigmas.filter((sigma) => -Math.log(sigma) < this.config.lambda_min_clipped).length;
    return this.spacedTimesteps(numInferenceSteps!, this.config.num_train_timesteps - clipped).map(roundHalfEven);
  }

  #flowLevels(options: SetTimestepsOptions): Levels {
    if (options.timesteps) throw this.invalid('takes no timesteps with use_flow_sigmas');
    const shift = options.mu === undefined ? this.config.flow_shift : Math.exp(options.mu);
    const trainSteps = this.config.num_train_timesteps;
    const sigmas = linspace(1, 1 / trainSteps, options.numInferenceSteps! + 1)
      .map((alpha) => (shift * (1 - alpha)) / (1 + (shift - 1) * (1 - alpha)))
      .reverse()
      .slice(0, -1);
    return { timesteps: sigmas.map((sigma) => sigma * trainSteps), sigmas };
  }

  /** Fresh noise where the algorithm is stochastic. */
  protected freshNoise({ noise }: AdvanceInput): Float32Array | undefined {
    return this.config.algorithm_type.startsWith('sde-') ? noise('float32') : undefined;
  }
}
