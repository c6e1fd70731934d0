/** Stable Diffusion 3 and 3.5: text to image, read by two CLIP encoders and, where the checkpoint has it, T5. Diffusers' `StableDiffusion3Pipeline`. */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { join } from '../../tensor/slices.ts';
import { floatTensor, sizeOf } from '../../tensor/tensor.ts';
import { loadComponents } from '../load.ts';
import { ComponentPipeline, type PipelineClass, type PipelineTraits } from '../pipeline.ts';
import { type Condition, guidanceBranches } from '../request/conditions.ts';
import { guidedBy } from '../request/guidance.ts';
import { decodeImages, perSample, resolutionShift, startFromNoise } from '../request/latents.ts';
import type { GenerateRequest, Plan } from '../request/request.ts';
import { padEnd } from '../request/tensors.ts';
import type { EmbedOptions, TextEncoder } from '../request/text-encoder.ts';
import type { Settings } from '../schema/read-settings.ts';
import { type SD3Model, sd3Options } from './sd3-options.ts';

interface SD3Components extends Record<string, unknown> {
  transformer: TransformerModel;
  clipL: TextEncoder;
  clipG: TextEncoder;
  t5: TextEncoder | undefined;
  autoencoder: Autoencoder;
  scheduler: Scheduler;
}

export class StableDiffusion3Pipeline extends ComponentPipeline<SD3Components, SD3Model, typeof sd3Options> {
  readonly traits: PipelineTraits = { subject: 'prompt', guidance: 'guidanceScale', output: 'images' };

  protected readonly spec = sd3Options;

  protected get model(): SD3Model {
    const { transformer, autoencoder, t5 } = this.components;
    const { spatialScale } = autoencoder;
    return {
      sampleSize: Number(transformer.config['sample_size'] ?? 128) * spatialScale,
      patch: Number(transformer.config['patch_size'] ?? 2),
      spatialScale,
      maxTextTokens: t5?.tokenizer.modelMaxLength,
    };
  }

  protected plan({ settings, warnings }: GenerateRequest<Settings<typeof sd3Options>>): Plan {
    const { transformer, autoencoder, scheduler } = this.components;
    const { patch, spatialScale } = this.model;
    const { conditions, batch, guidanceScale, numInferenceSteps, sigmas, numImages, signal } = settings;
    const { maxSequenceLength, clipSkip } = settings;
    const [height, width] = [settings.height / spatialScale, settings.width / spatialScale];
    const shape = [batch, Number(transformer.config['in_channels'] ?? 16), height, width];
    return {
      batch,
      workload: {
        transformer,
        autoencoder,
        tokens: (height * width) / patch ** 2 + maxSequenceLength,
        height: settings.height,
        width: settings.width,
      },
      // As in Diffusers, the negative prompt is read by all of CLIP's layers.
      encode: () =>
        guidanceBranches(conditions, numImages, (condition, isNegative) =>
          this.embed(condition, { maxSequenceLength, clipSkip: isNegative ? 0 : clipSkip, signal, warnings }),
        ),
      start: (noise) =>
        startFromNoise(scheduler, {
          schedule: {
            ...(sigmas ? { sigmas } : { numInferenceSteps }),
            ...(scheduler.config['use_dynamic_shifting']
              ? { mu: resolutionShift(scheduler, (height * width) / patch ** 2, 1.16) }
              : {}),
          },
          given: settings.latents,
          shape,
          draw: () => noise.randn(shape),
        }),
      jointCalls: true,
      modelAt: () => transformer,
      inputsAt: (latents, timestep) => ({ hidden_states: latents, timestep: perSample(latents, timestep) }),
      combine: guidedBy(guidanceScale),
      decode: async (latents) => ({ images: await decodeImages(autoencoder, latents, signal) }),
    };
  }

  /** Tokens of [both CLIPs side by side, T5], and both pooled embeddings side by side. */
  private async embed(
    { texts, embeds }: Condition,
    options: EmbedOptions & { clipSkip: number },
  ): Promise<ForwardInputs> {
    if (embeds) return { encoder_hidden_states: embeds.promptEmbeds, pooled_projections: embeds.pooledPromptEmbeds };
    const { clipL, clipG, t5 } = this.components;
    const { maxSequenceLength, clipSkip, signal, warnings } = options;
    const [forClipL, forClipG, forT5] = texts as [string[], string[], string[]];
    const clip = {
      maxLength: clipL.tokenizer.modelMaxLength,
      hiddenState: -2 - clipSkip,
      // T5 reads what CLIP has to cut.
      warnings: t5 ? undefined : warnings,
      signal,
    };
    const [l, g] = [await clipL.encodePadded(forClipL, clip), await clipG.encodePadded(forClipG, clip)];
    const width = Number(this.components.transformer.config['joint_attention_dim'] ?? 4096);
    const t5Shape = [forT5.length, maxSequenceLength, width];
    const t5Hidden = t5
      ? (await t5.encodePadded(forT5, { maxLength: maxSequenceLength, signal, warnings })).hidden
      : floatTensor(new Float32Array(sizeOf(t5Shape)), t5Shape);
    return {
      encoder_hidden_states: join([padEnd(join([l.hidden, g.hidden], 2), { axis: 2, length: width }), t5Hidden], 1),
      pooled_projections: join([l.pooled!, g.pooled!], 1),
    };
  }
}

export const sd3PipelineClass: PipelineClass = {
  classNames: ['StableDiffusion3Pipeline'],
  options: sd3Options,
  async load(folder, defaults, options) {
    const components = await loadComponents(folder, options, async (load) => ({
      scheduler: await load.scheduler(),
      clipL: await load.textEncoder(),
      clipG: await load.textEncoder('_2'),
      t5: load.has('text_encoder_3') ? await load.textEncoder('_3') : undefined,
      autoencoder: await load.autoencoder(),
      transformer: await load.transformer(),
    }));
    return new StableDiffusion3Pipeline(
      { className: 'StableDiffusion3Pipeline', path: folder.path, defaults },
      components,
    );
  },
};
