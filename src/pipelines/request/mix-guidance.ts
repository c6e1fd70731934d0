/**
 * HunyuanImage's guidance, Diffusers' `AdaptiveProjectedMixGuidance`: classifier-free at first, then projected (APG, arXiv 2410.02416),
 * which leaves out what points along the conditional output, bounds the rest, and remembers it from step to step.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { ConfigReader } from '../../models/config-reader.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { guide, rescaled } from './guidance.ts';

export interface MixGuider {
  enabled: boolean;
  /** Of classifier-free guidance; 1 is none. */
  guidanceScale: number;
  /** How far the spread is brought back to that of the conditional output. */
  rescale: number;
  /** Shares of the steps between which there is guidance. */
  start: number;
  stop: number;
  /** Of projected guidance, which begins behind this step. */
  projected: { scale: number; momentum: number | undefined; maxNorm: number; parallel: number; after: number };
}

/** @throws DejaDitError UNSUPPORTED for guiders of other classes */
export function readMixGuider(className: string, config: ConfigReader): MixGuider {
  if (className !== 'AdaptiveProjectedMixGuidance')
    throw new DejaDitError('UNSUPPORTED', `${className} is not supported, only AdaptiveProjectedMixGuidance is`, {
      path: config.origin,
    });
  config.requires('use_original_formulation', false);
  config.rejectUnsupported();
  return {
    enabled: config.boolean('enabled', true),
    guidanceScale: config.number('guidance_scale', 3.5),
    rescale: config.number('guidance_rescale', 0),
    start: config.number('start', 0),
    stop: config.number('stop', 1),
    projected: {
      scale: config.number('adaptive_projected_guidance_scale', 10),
      momentum:
        config.json['adaptive_projected_guidance_momentum'] === null
          ? undefined
          : config.number('adaptive_projected_guidance_momentum', -0.5),
      maxNorm: config.number('adaptive_projected_guidance_rescale', 10),
      parallel: config.number('eta', 0),
      after: config.integer('adaptive_projected_guidance_start_step', 5, { min: 0 }),
    },
  };
}

export interface MixGuidance {
  /** Whether a step calls the model for the negative prompt too. */
  guidedAt(index: number): boolean;
  /** A step's outputs as one; every step is asked for once, in order. */
  combine(outputs: readonly Tensor[]): Tensor;
}

/** The guidance of one request. @param scale of classifier-free guidance */
export function mixGuidance(
  { rescale, start, stop, projected }: MixGuider,
  { scale, steps }: { scale: number; steps: number },
): MixGuidance {
  const { momentum, after } = projected;
  let index = 0;
  let remembered: Tensor | undefined;
  return {
    guidedAt: (step) => step >= Math.trunc(start * steps) && step < Math.trunc(stop * steps),
    combine([cond, uncond]) {
      const step = index++;
      if (!uncond) return cond!;
      const difference = minus(cond!, uncond);
      remembered = remembered && momentum !== undefined ? plus(difference, remembered, momentum) : difference;
      const isProjected = step > after && projected.scale !== 1;
      const guided = isProjected
        ? plus(uncond, project(remembered, cond!, projected), projected.scale)
        : guide(cond!, uncond, scale);
      return rescale > 0 ? rescaled(guided, cond!, rescale) : guided;
    },
  };
}

/** Per sample: bounded, and without what points along `onto`, but for a share of it. */
function project(
  difference: Tensor,
  onto: Tensor,
  { maxNorm, parallel }: { maxNorm: number; parallel: number },
): Tensor {
  const size = difference.size / difference.dim(0);
  const out = new Float32Array(difference.size);
  for (let at = 0; at < out.length; at += size) {
    const [d, o] = [difference.f32.subarray(at, at + size), onto.f32.subarray(at, at + size)];
    const factor = maxNorm > 0 ? Math.fround(Math.min(1, maxNorm / Math.fround(Math.sqrt(dot(d, d))))) : 1;
    const bounded = d.map((value) => value * factor);
    const length = Math.max(Math.sqrt(dot(o, o)), 1e-12);
    const along = dot(bounded, o) / length / length;
    for (let i = 0; i < size; i++) {
      const own = along * o[i]!;
      out[at + i] = Math.fround(bounded[i]! - own) + Math.fround(parallel * Math.fround(own));
    }
  }
  return floatTensor(out, difference.shape);
}

function dot(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

function minus(a: Tensor, b: Tensor): Tensor {
  return floatTensor(
    a.f32.map((value, i) => value - b.f32[i]!),
    a.shape,
  );
}

/** a + factor·b. */
function plus(a: Tensor, b: Tensor, factor: number): Tensor {
  return floatTensor(
    a.f32.map((value, i) => value + Math.fround(factor * b.f32[i]!)),
    a.shape,
  );
}
