/** Qwen-Image: text to image, the text read by a language model under a fixed instruction. Diffusers' `QwenImagePipeline`. */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { linspace } from '../../schedulers/spacing/sigma-spacing.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { packLatents, unpackLatents } from '../flux/packing.ts';
import { loadComponents } from '../load.ts';
import { ComponentPipeline, type PipelineClass, type PipelineTraits } from '../pipeline.ts';
import { type Condition, guidanceBranches } from '../request/conditions.ts';
import { guideKeepingNorm } from '../request/guidance.ts';
import { decodeImages, perSample, resolutionShift, startFromNoise } from '../request/latents.ts';
import type { GenerateRequest, Plan } from '../request/request.ts';
import { type EmbedOptions, padTexts, type TextEncoder } from '../request/text-encoder.ts';
import type { Settings } from '../schema/read-settings.ts';
import { type QwenImageModel, qwenImageOptions } from './qwenimage-options.ts';

/** The conversation that the model was trained with; the tokens before the prompt are read, but not passed on. */
const instruction =
  'Describe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the objects and background:';
const conversation = (prompt: string) =>
  `<|im_start|>system\n${instruction}<|im_end|>\n<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n`;
const templateTokens = 34;

interface QwenImageComponents extends Record<string, unknown> {
  transformer: TransformerModel;
  textEncoder: TextEncoder;
  autoencoder: Autoencoder;
  scheduler: Scheduler;
}

export class QwenImagePipeline extends ComponentPipeline<QwenImageComponents, QwenImageModel, typeof qwenImageOptions> {
  readonly traits: PipelineTraits = { subject: 'prompt', guidance: 'trueCfgScale', output: 'images' };
  protected readonly spec = qwenImageOptions;

  protected get model(): QwenImageModel {
    return { spatialScale: this.components.autoencoder.spatialScale };
  }

  protected plan({ settings, warnings }: GenerateRequest<Settings<typeof qwenImageOptions>>): Plan {
    const { transformer, autoencoder, scheduler } = this.components;
    const { conditions, batch, trueCfgScale, sigmas, numImages, height, width, maxSequenceLength, signal } = settings;
    const { numInferenceSteps: steps } = settings;
    const [rows, columns] = [height / autoencoder.spatialScale / 2, width / autoencoder.spatialScale / 2];
    const channels = Number(transformer.config['in_channels'] ?? 64);
    const unpacked = (tokens: Tensor) => {
      const latents = unpackLatents(tokens, 2 * rows, 2 * columns);
      return latents.reshape([batch, channels / 4, 1, 2 * rows, 2 * columns]);
    };
    return {
      batch,
      workload: { transformer, autoencoder, tokens: rows * columns + maxSequenceLength, height, width },
      encode: () =>
        guidanceBranches(conditions, numImages, (condition) =>
          this.embed(condition, { maxSequenceLength, signal, warnings }),
        ),
      start: (noise) =>
        startFromNoise(scheduler, {
          schedule: {
            sigmas: sigmas ?? [...linspace(1, 1 / steps, steps)],
            mu: resolutionShift(scheduler, rows * columns),
          },
          given: settings.latents,
          shape: [batch, rows * columns, channels],
          draw: () => packLatents(noise.randn([batch, channels / 4, 2 * rows, 2 * columns])),
        }),
      modelAt: () => transformer,
      inputsAt: (latents, timestep) => ({
        hidden_states: latents,
        timestep: perSample(latents, Math.fround(timestep) / 1000),
        img_shapes: [[1, rows, columns]],
      }),
      combine: ([cond, uncond]) => (uncond ? guideKeepingNorm(cond!, uncond, trueCfgScale) : cond!),
      decode: async (tokens) => ({ images: await decodeImages(autoencoder, unpacked(tokens), signal) }),
    };
  }

  private async embed(
    { texts: [texts], embeds }: Condition,
    { maxSequenceLength, signal, warnings }: EmbedOptions,
  ): Promise<ForwardInputs> {
    if (embeds)
      return { encoder_hidden_states: embeds.promptEmbeds, encoder_hidden_states_mask: embeds.promptEmbedsMask };
    const each = await this.components.textEncoder.encodeEach(texts!.map(conversation), {
      maxLength: maxSequenceLength,
      templateTokens,
      signal,
      warnings,
    });
    const { embeds: hidden, mask } = padTexts(each);
    return { encoder_hidden_states: hidden, encoder_hidden_states_mask: mask };
  }
}

export const qwenImagePipelineClass: PipelineClass = {
  classNames: ['QwenImagePipeline'],
  options: qwenImageOptions,
  async load(folder, defaults, options) {
    const components = await loadComponents(folder, options, async (load) => ({
      scheduler: await load.scheduler(),
      textEncoder: await load.textEncoder(),
      autoencoder: await load.autoencoder(),
      transformer: await load.transformer(),
    }));
    return new QwenImagePipeline({ className: 'QwenImagePipeline', path: folder.path, defaults }, components);
  },
};
