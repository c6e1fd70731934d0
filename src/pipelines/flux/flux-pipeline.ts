/**
 * FLUX.1: text, and optionally a starting image, to image. Diffusers' `FluxPipeline` and `FluxImg2ImgPipeline` in one, with
 * their defaults, the same noise for a seed and the same order of draws.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { Image } from '../../images/image.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { linspace } from '../../schedulers/sigma-spacing.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type Condition, guidanceBranches } from '../conditions.ts';
import { guidedBy } from '../guidance.ts';
import { decodeImages, initialLatents, perSample, resolutionShift } from '../latents.ts';
import { loadComponents } from '../load.ts';
import type { NoiseSource } from '../noise.ts';
import type { GenerateOptions } from '../options.ts';
import { ComponentPipeline, type PipelineClass, type PipelineTraits } from '../pipeline.ts';
import type { GenerateRequest, Plan, Start } from '../request.ts';
import { affine, repeatRows } from '../tensors.ts';
import type { EmbedOptions, TextEncoder } from '../text-encoder.ts';
import { type FluxSettings, fluxSettings } from './flux-settings.ts';
import { imageIds, packLatents, textIds, unpackLatents } from './packing.ts';

interface FluxComponents extends Record<string, unknown> {
  transformer: TransformerModel;
  clip: TextEncoder;
  t5: TextEncoder;
  autoencoder: Autoencoder;
  scheduler: Scheduler;
}

export class FluxPipeline extends ComponentPipeline<FluxComponents> {
  get traits(): PipelineTraits {
    return { subject: 'prompt', guidance: this.guidanceEmbedding ? 'guidanceScale' : 'trueCfgScale', output: 'images' };
  }

  protected plan(request: GenerateRequest): Plan {
    const { options, warnings } = request;
    const { transformer, autoencoder, t5 } = this.components;
    const settings = fluxSettings(request, this.origin.defaults, {
      guidanceEmbedding: this.guidanceEmbedding,
      sampleSize: Number(autoencoder.model.config['sample_size'] ?? 1024),
      spatialScale: autoencoder.spatialScale,
      maxTextTokens: t5.tokenizer.modelMaxLength,
    });
    const { conditions, numImages, maxSequenceLength, latentHeight, latentWidth } = settings;
    const { signal } = options;
    return {
      batch: conditions.positive.count * numImages,
      encode: () =>
        guidanceBranches(conditions, numImages, (condition) =>
          this.embed(condition, { maxSequenceLength, signal, warnings }),
        ),
      start: (noise) => this.start(settings, noise, options),
      modelAt: () => transformer,
      inputsAt: callInputs(settings),
      combine: guidedBy(settings.trueCfgScale),
      decode: async (tokens) => ({
        images: await decodeImages(autoencoder, unpackLatents(tokens, latentHeight, latentWidth), signal),
      }),
    };
  }

  private get guidanceEmbedding(): boolean {
    return this.components.transformer.config['guidance_embeds'] === true;
  }

  /**
   * CLIP's pooled embedding, and T5's hidden states with their padding: FLUX was trained without a text mask. What CLIP has to
   * cut T5 still reads, so only T5's cuts are worth a warning.
   */
  private async embed(
    { texts: [forClip, forT5], embeds }: Condition,
    { maxSequenceLength, signal, warnings }: EmbedOptions,
  ): Promise<ForwardInputs> {
    if (embeds) return { encoder_hidden_states: embeds.promptEmbeds, pooled_projections: embeds.pooledPromptEmbeds };
    const { clip, t5 } = this.components;
    const clipOptions = { maxLength: clip.tokenizer.modelMaxLength, signal };
    const { pooled } = await clip.encodePadded(forClip!, clipOptions);
    const { hidden } = await t5.encodePadded(forT5!, { maxLength: maxSequenceLength, signal, warnings });
    return { encoder_hidden_states: hidden, pooled_projections: pooled };
  }

  /** Where denoising starts: pure noise, or the starting image noised to the level that `strength` asks for. */
  private async start(settings: FluxSettings, noise: NoiseSource, options: GenerateOptions): Promise<Start> {
    const { conditions, numImages, latentHeight, latentWidth, steps, sigmas, image } = settings;
    const scheduler = this.components.scheduler.clone();
    scheduler.setTimesteps({
      sigmas: sigmas ?? [...linspace(1, 1 / steps, steps)],
      mu: resolutionShift(scheduler, (latentHeight * latentWidth) / 4),
    });
    const [batch, channels] = [conditions.positive.count * numImages, this.components.autoencoder.latentChannels];
    const shape = [batch, channels, latentHeight, latentWidth];
    if (image) {
      const timesteps = lateTimesteps(scheduler, settings);
      const clean = await this.encodeImage(image, settings, noise);
      const noised = scheduler.addNoise({ sample: clean, noise: noise.randn(shape), timestep: timesteps[0]! });
      return { scheduler, timesteps, latents: packLatents(noised) };
    }
    const tokens = [batch, (latentHeight * latentWidth) / 4, channels * 4];
    const draw = () => packLatents(noise.randn(shape));
    return { scheduler, latents: initialLatents(scheduler, { given: options.latents, shape: tokens, draw }) };
  }

  /** Latents of a starting image as the transformer sees them: [B, C, h, w]. */
  private async encodeImage(
    image: Image,
    { width, height, conditions, numImages }: FluxSettings,
    noise: NoiseSource,
  ): Promise<Tensor> {
    const { autoencoder } = this.components;
    const pixels = (await image.resize(width, height)).toTensor();
    const latents = await autoencoder.encode(repeatRows(pixels, conditions.positive.count * numImages), {
      generator: noise.generators[0],
    });
    const { scalingFactor, shiftFactor } = autoencoder;
    return affine(affine(latents, { shift: -shiftFactor }), { scale: scalingFactor });
  }
}

/** What a model call gets besides its branch's embeddings. */
function callInputs({ latentHeight, latentWidth, guidanceScale }: FluxSettings) {
  const img_ids = imageIds(latentHeight / 2, latentWidth / 2);
  return (latents: Tensor, timestep: number, { encoder_hidden_states }: ForwardInputs): ForwardInputs => ({
    hidden_states: latents,
    timestep: perSample(latents, Math.fround(timestep) / 1000),
    img_ids,
    txt_ids: textIds((encoder_hidden_states as Tensor).shape[1]!),
    ...(guidanceScale === undefined ? {} : { guidance: perSample(latents, guidanceScale) }),
  });
}

/** The last `strength` share of the schedule. */
function lateTimesteps(scheduler: Scheduler, { steps, strength }: FluxSettings): readonly number[] {
  const first = Math.floor(steps - Math.min(steps * strength, steps));
  const timesteps = scheduler.timesteps.slice(first);
  if (timesteps.length === 0)
    throw new DejaDitError('INVALID_ARGUMENT', `${strength} of ${steps} steps leaves no step to run`, {
      path: 'strength',
    });
  scheduler.setBeginIndex(first);
  return timesteps;
}

export const fluxPipelineClass: PipelineClass = {
  classNames: ['FluxPipeline', 'FluxImg2ImgPipeline'],
  async load(folder, defaults, options) {
    const components = await loadComponents(folder, options, async (load) => ({
      scheduler: await load.scheduler(),
      clip: await load.textEncoder(),
      t5: await load.textEncoder('_2'),
      autoencoder: await load.autoencoder(),
      transformer: await load.transformer(),
    }));
    return new FluxPipeline({ className: 'FluxPipeline', path: folder.path, defaults }, components);
  },
};
