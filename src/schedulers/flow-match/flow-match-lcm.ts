/** Latent consistency sampling for flow-matching models: each step lands on the clean sample and adds noise again. */
import * as z from 'zod';
import { parseConfig } from '../config.ts';
import type { AdvanceInput, AdvanceResult } from '../scheduler-base.ts';
import { FlowMatchScheduler, flowMatchFields, renoise } from './flow-match-scheduler.ts';

const fields = {
  ...flowMatchFields,
  scale_factors: z.null('scaling up between steps is not supported').default(null),
  /** Without effect when nothing is scaled. */
  upscale_mode: z.string().default('bicubic'),
};

export class FlowMatchLCMScheduler extends FlowMatchScheduler {
  readonly className = 'FlowMatchLCMScheduler';
  readonly config;

  constructor(config: Readonly<Record<string, unknown>> = {}) {
    super();
    this.config = parseConfig(this.className, fields, config);
  }

  clone(): FlowMatchLCMScheduler {
    return new FlowMatchLCMScheduler(this.config);
  }

  protected advance({ modelOutput, sample, index, noise }: AdvanceInput): AdvanceResult {
    const levels = { sigma: this.sigmas[index]!, next: this.sigmas[index + 1]! };
    return { prevSample: renoise({ modelOutput, sample, noise: noise('float32') }, levels) };
  }
}
