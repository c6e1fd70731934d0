/** UniPC (Zhao et al. 2023, https://arxiv.org/abs/2302.04867): a predictor and a corrector that need no extra model call. */
import * as z from 'zod';
import { roundHalfEven } from '../../tensor/rounding.ts';
import { parseConfig } from '../config.ts';
import type { SetTimestepsOptions } from '../scheduler.ts';
import { type AdvanceInput, type AdvanceResult, type Schedule, weightedSum } from '../scheduler-base.ts';
import { staticShift, stretchToTerminal } from '../spacing/flow-shift.ts';
import { linspace } from '../spacing/sigma-spacing.ts';
import { sigmasAt, spaceTimesteps, timestepSpacing } from '../spacing/timestep-spacing.ts';
import { type Levels, SolverScheduler, solverFields } from './solver-scheduler.ts';
import { uniPCWeights } from './unipc-update.ts';

const fields = {
  ...solverFields,
  predict_x0: z.boolean().default(true),
  solver_type: z.enum(['bh1', 'bh2']).default('bh2'),
  /** Steps after which the sample is not corrected. */
  disable_corrector: z.array(z.int().min(0)).default([]),
  solver_p: z.null('a predictor of another class is not supported').default(null),
  timestep_spacing: timestepSpacing.default('linspace'),
  steps_offset: z.int().min(0).default(0),
  rescale_betas_zero_snr: z.boolean().default(false),
  sigma_min: z.number().positive().nullable().default(null),
  sigma_max: z.number().positive().nullable().default(null),
  shift_terminal: z.number().min(0).lt(1).nullable().default(null),
};

/** What a step leaves for the corrector at the next one. */
interface LastStep {
  sample: Float32Array;
  order: number;
}

export class UniPCMultistepScheduler extends SolverScheduler {
  readonly className = 'UniPCMultistepScheduler';
  readonly config;
  protected override readonly takes = ['sigmas', 'mu'] as const;
  /** Converted model outputs, latest first. */
  #outputs: Float32Array[] = [];
  #last: LastStep | undefined;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
    const { predict_x0: predictsOriginal, prediction_type: prediction } = this.config;
    if (!predictsOriginal && prediction === 'flow_prediction') {
      throw this.invalidConfig("predict_x0 false cannot be used with prediction_type 'flow_prediction'");
    }
    if (!predictsOriginal && this.config.thresholding) {
      throw this.invalidConfig('predict_x0 false cannot be used with thresholding');
    }
  }

  clone(): UniPCMultistepScheduler {
    return new UniPCMultistepScheduler(this.config);
  }

  protected get predictsOriginal(): boolean {
    return this.config.predict_x0;
  }

  protected override forget(): void {
    this.#outputs = [];
    this.#last = undefined;
  }

  protected override get sigmaRange(): { max: number; min: number } {
    const { max, min } = super.sigmaRange;
    return { max: this.config.sigma_max ?? max, min: this.config.sigma_min ?? min };
  }

  protected plan(options: SetTimestepsOptions): Schedule {
    const { use_flow_sigmas: flow, final_sigmas_type: final } = this.config;
    if (options.sigmas && !flow) throw this.invalid('takes sigmas only with use_flow_sigmas');
    if (options.sigmas && (options.sigmas[0]! > 1 || options.sigmas.at(-1)! <= 0)) {
      throw this.invalid('sigmas must lie above 0 and up to 1');
    }
    const levels = this.respaced(options) ?? (flow ? this.#flowLevels(options) : undefined);
    const last = levels ? levels.sigmas.at(-1)! : this.trainingSigmas[0]!;
    return this.integerSchedule(levels ?? this.#trainedLevels(options), final === 'zero' ? 0 : last);
  }

  protected override respaced(options: SetTimestepsOptions): Levels | undefined {
    const levels = super.respaced(options);
    if (!levels) return undefined;
    if (options.sigmas) throw this.invalid('takes no sigmas with another spacing of sigmas');
    if (!this.config.use_flow_sigmas) return levels;
    const sigmas = levels.sigmas.map((sigma) => sigma / (sigma + 1));
    return { sigmas, timesteps: sigmas.map((sigma) => sigma * this.config.num_train_timesteps) };
  }

  /** How strongly flows are shifted: by configuration, or by mu, which is ignored where it is not asked for. */
  #flowShift({ mu }: SetTimestepsOptions): number {
    const { use_dynamic_shifting: dynamic, flow_shift: shift, time_shift_type: kind } = this.config;
    if (!dynamic) return shift;
    if (mu === undefined) throw this.invalid('use_dynamic_shifting requires mu, see calculateShift');
    if (kind === 'exponential') return Math.exp(mu);
    if (mu <= 0) throw this.invalid(`mu must be positive for linear shifts, got ${mu}`);
    return mu;
  }

  #flowLevels(options: SetTimestepsOptions): Levels {
    const trainSteps = this.config.num_train_timesteps;
    const double = (x: number) => x;
    const plain = options.sigmas
      ? Float64Array.from(options.sigmas)
      : linspace(1, 1 / trainSteps, options.numInferenceSteps! + 1).slice(0, -1);
    const shift = this.#flowShift(options);
    let sigmas: Float64Array = plain.map((sigma) => staticShift(sigma, shift, double));
    if (this.config.shift_terminal) sigmas = stretchToTerminal(sigmas, this.config.shift_terminal, double);
    // At sigma 1 the sample is all noise and lambda infinite.
    if (Math.abs(sigmas[0]! - 1) < 1e-6) sigmas[0]! -= 1e-6;
    return { sigmas, timesteps: sigmas.map((sigma) => sigma * trainSteps) };
  }

  #trainedLevels({ numInferenceSteps }: SetTimestepsOptions): Levels {
    const { timestep_spacing: spacing, steps_offset: stepsOffset, num_train_timesteps: trainSteps } = this.config;
    const count = numInferenceSteps!;
    const timesteps = spaceTimesteps({ spacing, count, trainSteps, stepsOffset, openEnd: true }).map(roundHalfEven);
    return { timesteps, sigmas: sigmasAt(timesteps, this.trainingSigmas) };
  }

  protected advance(input: AdvanceInput): AdvanceResult {
    const { index } = input;
    const converted = this.convert(input);
    const corrects = this.#last !== undefined && !this.config.disable_corrector.includes(index - 1);
    const sample = corrects ? this.#correct(this.#last!, converted, index) : input.sample;

    const outputs = [converted, ...this.#outputs].slice(0, this.config.solver_order);
    const available = Math.min(this.config.solver_order, outputs.length);
    const order = this.config.lower_order_final ? Math.min(available, this.timesteps.length - index) : available;
    const prevSample = this.#move({ sample, outputs, order, from: index });
    this.#outputs = outputs;
    this.#last = { sample, order };
    return { prevSample, ...(this.predictsOriginal && { predOriginalSample: converted }) };
  }

  /** Repeats the last step, now that the model output at its end is known. */
  #correct({ sample, order }: LastStep, converted: Float32Array, index: number): Float32Array {
    return this.#move({ sample, outputs: this.#outputs, order, from: index - 1, atEnd: converted });
  }

  /** One step from `from` to the next level, with model outputs at `from` and before it, and maybe at its end. */
  #move(step: { sample: Float32Array; outputs: Float32Array[]; order: number; from: number; atEnd?: Float32Array }) {
    const { sample, outputs, order, from, atEnd } = step;
    const weights = uniPCWeights({
      to: this.level(from + 1),
      from: this.level(from),
      earlier: Array.from({ length: order - 1 }, (_, i) => this.level(from - 1 - i)),
      corrects: atEnd !== undefined,
      solverType: this.config.solver_type,
      predictsOriginal: this.predictsOriginal,
    });
    const terms: [number, Float32Array][] = [[weights.sample, sample]];
    for (const [i, weight] of weights.outputs.entries()) terms.push([weight, outputs[i]!]);
    if (atEnd) terms.push([weights.atEnd, atEnd]);
    return weightedSum(...terms);
  }
}
