/** Z-Image: text to image, the text read by a language model as a question to its assistant. Diffusers' `ZImagePipeline`. */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { linspace } from '../../schedulers/spacing/sigma-spacing.ts';
import { cut } from '../../tensor/slices.ts';
import { dims, type Tensor } from '../../tensor/tensor.ts';
import { loadComponents } from '../load.ts';
import { ComponentPipeline, type PipelineClass, type PipelineTraits } from '../pipeline.ts';
import { type Condition, guidanceBranches } from '../request/conditions.ts';
import { guideBeyond } from '../request/guidance.ts';
import { decodeImages, perSample, resolutionShift, startFromNoise } from '../request/latents.ts';
import type { GenerateRequest, Plan } from '../request/request.ts';
import { affine } from '../request/tensors.ts';
import type { EmbedOptions, TextEncoder } from '../request/text-encoder.ts';
import type { Settings } from '../schema/read-settings.ts';
import { type ZImageModel, zImageOptions } from './zimage-options.ts';

interface ZImageComponents extends Record<string, unknown> {
  transformer: TransformerModel;
  textEncoder: TextEncoder;
  autoencoder: Autoencoder;
  scheduler: Scheduler;
}

export class ZImagePipeline extends ComponentPipeline<ZImageComponents, ZImageModel, typeof zImageOptions> {
  readonly traits: PipelineTraits = { subject: 'prompt', guidance: 'guidanceScale', output: 'images' };
  protected readonly spec = zImageOptions;

  protected get model(): ZImageModel {
    return { spatialScale: this.components.autoencoder.spatialScale };
  }

  protected plan({ settings, warnings }: GenerateRequest<Settings<typeof zImageOptions>>): Plan {
    const { transformer, autoencoder, scheduler } = this.components;
    const { conditions, batch, guidanceScale, cfgTruncation, numImages, maxSequenceLength, signal } = settings;
    const { numInferenceSteps: steps, sigmas } = settings;
    const maxNorm = Number(settings.cfgNormalization);
    const [height, width] = [settings.height / autoencoder.spatialScale, settings.width / autoencoder.spatialScale];
    return {
      batch,
      workload: {
        transformer,
        autoencoder,
        tokens: (height / 2) * (width / 2) + maxSequenceLength,
        height: settings.height,
        width: settings.width,
      },
      encode: () =>
        guidanceBranches(conditions, numImages, (condition) =>
          this.embed(condition, { maxSequenceLength, signal, warnings }),
        ),
      start: (noise) =>
        startFromNoise(scheduler, {
          schedule: {
            sigmas: sigmas ?? [...linspace(1, 1 / steps, steps)],
            mu: resolutionShift(scheduler, (height / 2) * (width / 2)),
          },
          given: settings.latents,
          shape: [batch, Number(transformer.config['in_channels'] ?? 16), height, width],
          draw: (shape) => noise.randn(shape),
        }),
      jointCalls: true,
      modelAt: () => transformer,
      inputsAt: (latents, timestep) => ({ x: videosOfOneFrame(latents), t: perSample(latents, progress(timestep)) }),
      combine: ([cond, uncond], timestep) => {
        const guided = uncond && progress(timestep) <= cfgTruncation;
        const output = guided ? guideBeyond(cond!, uncond, { scale: guidanceScale, maxNorm }) : cond!;
        // The model predicts the way from noise to image, schedulers step along the way back.
        return affine(output.reshape([batch, -1, height, width]), { scale: -1 });
      },
      decode: async (latents) => ({ images: await decodeImages(autoencoder, latents, signal) }),
    };
  }

  /** The last hidden state but one of each prompt's tokens. */
  private async embed(
    { texts: [texts], embeds }: Condition,
    { maxSequenceLength, signal, warnings }: EmbedOptions,
  ): Promise<ForwardInputs> {
    if (embeds) return { cap_feats: embeds.promptEmbeds };
    const { textEncoder } = this.components;
    const questions = texts!.map((content) =>
      textEncoder.tokenizer.applyChatTemplate([{ role: 'user', content }], {
        addGenerationPrompt: true,
        variables: { enable_thinking: true },
      }),
    );
    const options = { maxLength: maxSequenceLength, hiddenState: -2, signal, warnings };
    return { cap_feats: await textEncoder.encodeEach(await Promise.all(questions), options) };
  }
}

/** The model counts time from noise (0) to image (1). */
function progress(timestep: number): number {
  return Math.fround(Math.fround(1000 - Math.fround(timestep)) / 1000);
}

/** Latents [B, C, h, w] as the list [C, 1, h, w], … that the model takes. */
function videosOfOneFrame(latents: Tensor): Tensor[] {
  const [batch, channels, height, width] = dims(latents, 4);
  return Array.from({ length: batch }, (_, i) =>
    cut(latents, { axis: 0, from: i, to: i + 1 }).reshape([channels, 1, height, width]),
  );
}

export const zImagePipelineClass: PipelineClass = {
  classNames: ['ZImagePipeline'],
  options: zImageOptions,
  async load(folder, defaults, options) {
    const components = await loadComponents(folder, options, async (load) => ({
      scheduler: await load.scheduler(),
      textEncoder: await load.textEncoder(),
      autoencoder: await load.autoencoder(),
      transformer: await load.transformer(),
    }));
    return new ZImagePipeline({ className: 'ZImagePipeline', path: folder.path, defaults }, components);
  },
};
