/** Euler steps along straight flows: the scheduler of Flux, SD3, Qwen-Image and most newer models. */
import * as z from 'zod';
import { parseConfig } from '../config.ts';
import { type AdvanceInput, type AdvanceResult, moveAlong } from '../scheduler-base.ts';
import { FlowMatchScheduler, flowMatchFields, renoise } from './flow-match-scheduler.ts';

const fields = { ...flowMatchFields, stochastic_sampling: z.boolean().default(false) };

/**
 * x' = x + (sigma' - sigma) * v, with the model predicting the velocity v = noise - clean. With `stochastic_sampling`
 * the predicted clean sample is noised anew at each step instead.
 */
export class FlowMatchEulerDiscreteScheduler extends FlowMatchScheduler {
  readonly className = 'FlowMatchEulerDiscreteScheduler';
  readonly config;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
  }

  clone(): FlowMatchEulerDiscreteScheduler {
    return new FlowMatchEulerDiscreteScheduler(this.config);
  }

  protected advance({ modelOutput, sample, index, noise }: AdvanceInput): AdvanceResult {
    const sigma = this.sigmas[index]!;
    const next = this.sigmas[index + 1]!;
    if (this.config.stochastic_sampling) {
      return { prevSample: renoise({ modelOutput, sample, noise: noise('float32') }, { sigma, next }) };
    }
    return { prevSample: moveAlong(sample, modelOutput, next - sigma) };
  }
}
