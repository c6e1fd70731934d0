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
import { linspace } from '../../schedulers/spacing/sigma-spacing.ts';
import { join } from '../../tensor/slices.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { loadComponents } from '../load.ts';
import { ComponentPipeline, type PipelineClass, type PipelineTraits } from '../pipeline.ts';
import { type Condition, guidanceBranches } from '../request/conditions.ts';
import { guidedBy } from '../request/guidance.ts';
import { decodeImages, initialLatents, perSample, resolutionShift } from '../request/latents.ts';
import type { NoiseSource } from '../request/noise.ts';
import type { GenerateRequest, Plan, Start } from '../request/request.ts';
import { loadStartImages, takingTurns } from '../request/start-images.ts';
import { affine } from '../request/tensors.ts';
import type { EmbedOptions, TextEncoder } from '../request/text-encoder.ts';
import type { Settings } from '../schema/read-settings.ts';
import { type FluxModel, fluxOptions } from './flux-options.ts';
import { imageIds, packLatents, textIds, unpackLatents } from './packing.ts';

interface FluxComponents extends Record<string, unknown> {
  transformer: TransformerModel;
  clip: TextEncoder;
  t5: TextEncoder;
  autoencoder: Autoencoder;
  scheduler: Scheduler;
}

type FluxSettings = Settings<typeof fluxOptions>;

/** Latents along both edges. */
interface Grid {
  rows: number;
  columns: number;
}

interface FluxStart extends Grid {
  /** Starting images. */
  images: readonly Image[] | undefined;
  noise: NoiseSource;
}

export class FluxPipeline extends ComponentPipeline<FluxComponents, FluxModel, typeof fluxOptions> {
  get traits(): PipelineTraits {
    return {
      subject: 'prompt',
      guidance: this.model.guidanceEmbedding ? 'guidanceScale' : 'trueCfgScale',
      output: 'images',
    };
  }

  protected readonly spec = fluxOptions;

  protected get model(): FluxModel {
    const { transformer, autoencoder, t5, scheduler } = this.components;
    return {
      guidanceEmbedding: transformer.config['guidance_embeds'] === true,
      flowSigmas: hasFlowSigmas(scheduler),
      sampleSize: Number(autoencoder.model.config['sample_size'] ?? 1024),
      spatialScale: autoencoder.spatialScale,
      maxTextTokens: t5.tokenizer.modelMaxLength,
    };
  }

  protected async plan({ settings, warnings }: GenerateRequest<FluxSettings>): Promise<Plan> {
    const { transformer, autoencoder } = this.components;
    const { conditions, numImages, batch, maxSequenceLength, height, width, signal } = settings;
    const [rows, columns] = [height / autoencoder.spatialScale, width / autoencoder.spatialScale];
    const sources = takingTurns(settings.image, batch);
    const images = sources && (await loadStartImages(sources));
    return {
      batch,
      workload: { transformer, autoencoder, tokens: (rows * columns) / 4 + maxSequenceLength, height, width },
      encode: () =>
        guidanceBranches(conditions, numImages, (condition) =>
          this.embed(condition, { maxSequenceLength, signal, warnings }),
        ),
      start: (noise) => this.start(settings, { rows, columns, images, noise }),
      modelAt: () => transformer,
      inputsAt: this.callInputs(settings, { rows, columns }),
      combine: guidedBy(settings.trueCfgScale),
      decode: async (tokens) => ({
        images: await decodeImages(autoencoder, unpackLatents(tokens, rows, columns), signal),
      }),
    };
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
  private async start(settings: FluxSettings, { images, noise, rows, columns }: FluxStart): Promise<Start> {
    const { batch, numInferenceSteps: steps, sigmas, latents } = settings;
    const scheduler = this.components.scheduler.clone();
    scheduler.setTimesteps({
      ...(hasFlowSigmas(scheduler)
        ? { numInferenceSteps: steps }
        : { sigmas: sigmas ?? [...linspace(1, 1 / steps, steps)] }),
      mu: resolutionShift(scheduler, (rows * columns) / 4),
    });
    const channels = this.components.autoencoder.latentChannels;
    const shape = [batch, channels, rows, columns];
    if (images) {
      const timesteps = lateTimesteps(scheduler, settings);
      const clean = await this.encodeImages(images, settings, noise);
      const noised = scheduler.addNoise({ sample: clean, noise: noise.randn(shape), timestep: timesteps[0]! });
      return { scheduler, timesteps, latents: packLatents(noised) };
    }
    const tokens = [batch, (rows * columns) / 4, channels * 4];
    const draw = () => packLatents(noise.randn(shape));
    return { scheduler, latents: initialLatents(scheduler, { given: latents, shape: tokens, draw }) };
  }

  /** Latents of the starting images, which take turns, as the transformer sees them: [B, C, h, w]. */
  private async encodeImages(
    images: readonly Image[],
    { width, height, batch, signal }: FluxSettings,
    noise: NoiseSource,
  ): Promise<Tensor> {
    const { autoencoder } = this.components;
    const pixels = await Promise.all(images.map(async (image) => (await image.resize(width, height)).toTensor()));
    const latents = await autoencoder.encode(join(pixels, 0), {
      generator: noise,
      // As in Diffusers, pictures that share a stream of noise share the sample too.
      samples: noise.perImage ? batch : images.length,
      signal,
    });
    const { scalingFactor, shiftFactor } = autoencoder;
    const scaled = affine(affine(latents, { shift: -shiftFactor }), { scale: scalingFactor });
    return join(Array<Tensor>(batch / scaled.dim(0)).fill(scaled), 0);
  }

  /** What a model call gets besides its branch's embeddings. */
  private callInputs({ guidanceScale }: FluxSettings, { rows, columns }: Grid): Plan['inputsAt'] {
    const img_ids = imageIds(rows / 2, columns / 2);
    const { guidanceEmbedding } = this.model;
    return (latents, timestep, { encoder_hidden_states }) => ({
      hidden_states: latents,
      timestep: perSample(latents, Math.fround(timestep) / 1000),
      img_ids,
      txt_ids: textIds((encoder_hidden_states as Tensor).dim(1)),
      ...(guidanceEmbedding ? { guidance: perSample(latents, guidanceScale) } : {}),
    });
  }
}

/** Whether a scheduler made for images of another kind has been told to lay out levels of flows itself. */
function hasFlowSigmas({ config }: Scheduler): boolean {
  return config['use_flow_sigmas'] === true;
}

/** The last `strength` share of the schedule. */
function lateTimesteps(scheduler: Scheduler, { numInferenceSteps: steps, strength }: FluxSettings): readonly number[] {
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
  options: fluxOptions,
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
