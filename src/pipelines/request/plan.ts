/**
 * How one request is run: what a pipeline says of it, and what is said of all that leave it out. A plan is made before anything is
 * computed, so what it refuses is refused early.
 */
import type { Image } from '../../images/image.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import type { Scheduler, SetTimestepsOptions } from '../../schedulers/scheduler.ts';
import type { Shape, Tensor } from '../../tensor/tensor.ts';
import type { GenerateResult } from '../schema/options.ts';
import type { Condition } from './conditions.ts';
import type { DenoiseOptions, GuidanceBranch } from './denoise.ts';
import type { NoiseSource } from './noise.ts';

/** Latents as the noise is drawn, and as the transformer takes them. */
export interface LatentLayout {
  /** Of the noise: [B, C, h, w], or [B, C, frames, h, w]. */
  readonly drawn: Shape;
  /** As the transformer takes them. */
  readonly shape: Shape;
  pack(drawn: Tensor): Tensor;
  unpack(latents: Tensor): Tensor;
}

/** Latents that the transformer takes as they are drawn. */
export function plainLatents(shape: Shape): LatentLayout {
  return { drawn: shape, shape, pack: (latents) => latents, unpack: (latents) => latents };
}

/** What a request starts from, latents as the transformer takes them. */
export interface Start extends Pick<DenoiseOptions, 'timesteps' | 'afterStep'> {
  latents: Tensor;
  /** Tokens of pictures to look at [B, tokens, C], which calls get beside the latents'; what the model says of them is left out. */
  references?: Tensor | undefined;
  /** On which side. Default `behind`. */
  referencesAt?: 'before' | 'behind';
  /** Channels [B, C, …] (of tokens: [B, tokens, C]) that calls get behind the latents' own. */
  channels?: Tensor | undefined;
  /** Which axis they are on, where it is another. */
  channelAxis?: number | undefined;
  /** Further inputs of every call, with a row per picture. */
  inputs?: Readonly<Record<string, Tensor>> | undefined;
}

/** What `decode` makes of latents. */
export type Pictures = Partial<Pick<GenerateResult, 'images' | 'videos'>>;

export interface Plan
  extends Partial<Pick<DenoiseOptions, 'modelAt' | 'jointCalls' | 'guidedAt' | 'combine' | 'besides'>> {
  /** Of one picture in the transformer, texts included where it attends to them as to its own: what memory is estimated from. */
  tokens: number;
  /** Of the decoded picture. Default: `height` and `width` of the request. */
  size?: { height: number; width: number };
  /** Decoded frames of a video. */
  frames?: number;
  /** Of a video, per second. */
  fps?: number;
  /** The inputs of a model call that a condition becomes, with a row (or list item) per prompt. */
  embed?(condition: Condition, isNegative: boolean): Promise<ForwardInputs>;
  /** Guidance branches, the positive one first. Default: those of the request's conditions, by `embed`. */
  encode?(): Promise<GuidanceBranch[]>;
  latents: LatentLayout;
  schedule: SetTimestepsOptions;
  /**
   * What the request starts from; whatever is drawn is drawn in Diffusers' order. Default: noise alone, or the caller's `latents`.
   * @param scheduler the request's own, with its schedule laid out
   */
  start?(noise: NoiseSource, scheduler: Scheduler): Start | Promise<Start>;
  /** Inputs of a call besides what its branch and the start bring. */
  inputsAt: DenoiseOptions['inputsAt'];
  /**
   * Of the final latents, as the transformer has them. Default: unpacked, at the autoencoder's scale, decoded.
   * @param noise the request's, after its last step; previews draw none
   */
  decode?(latents: Tensor, signal?: AbortSignal, noise?: NoiseSource): Promise<Pictures>;
  /** Default: the images that `decode` returns; of videos the first latent frame, decoded alone. */
  preview?(latents: Tensor): Promise<Image[]>;
}
