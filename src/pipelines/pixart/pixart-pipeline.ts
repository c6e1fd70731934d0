/** PixArt-α and PixArt-Σ: text to image with T5. Diffusers' `PixArtAlphaPipeline` and `PixArtSigmaPipeline`. */
import { DejaDitError } from '../../errors/errors.ts';
import { imagesFromTensor } from '../../images/image.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { ForwardInputs, InputValue } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { floatTensor, type Shape, sizeOf, type Tensor } from '../../tensor/tensor.ts';
import { loadComponents } from '../load.ts';
import { ComponentPipeline, type PipelineClass, type PipelineTraits } from '../pipeline.ts';
import { type Condition, guidanceBranches } from '../request/conditions.ts';
import type { GuidanceBranch } from '../request/denoise.ts';
import { guidedBy } from '../request/guidance.ts';
import { firstChannels, perSample, rawLatents, startFromNoise } from '../request/latents.ts';
import type { GenerateRequest, Plan } from '../request/request.ts';
import { padEnd } from '../request/tensors.ts';
import { type EmbedOptions, padTexts, type TextEncoder } from '../request/text-encoder.ts';
import type { Settings } from '../schema/read-settings.ts';
import { nearestTrainedSize, resizeAndCrop, type Size } from './aspect-ratios.ts';
import { type PixArtModel, pixartOptions } from './pixart-options.ts';

interface PixArtComponents extends Record<string, unknown> {
  transformer: TransformerModel;
  t5: TextEncoder;
  autoencoder: Autoencoder;
  scheduler: Scheduler;
}

export class PixArtPipeline extends ComponentPipeline<PixArtComponents, PixArtModel, typeof pixartOptions> {
  readonly traits: PipelineTraits = { subject: 'prompt', guidance: 'guidanceScale', output: 'images' };
  protected readonly spec = pixartOptions;

  protected get model(): PixArtModel {
    const { transformer, autoencoder, t5 } = this.components;
    const trained = this.className === 'PixArtSigmaPipeline' ? 300 : 120;
    return {
      sampleSize: Number(transformer.config['sample_size'] ?? 128),
      patch: Number(transformer.config['patch_size'] ?? 2),
      spatialScale: autoencoder.spatialScale,
      textTokens: Math.min(trained, t5.tokenizer.modelMaxLength),
    };
  }

  protected plan({ settings, warnings }: GenerateRequest<Settings<typeof pixartOptions>>): Plan {
    const { transformer, autoencoder } = this.components;
    const { conditions, batch, numImages, maxSequenceLength, guidanceScale, height, width, signal } = settings;
    const { numInferenceSteps, sigmas, timesteps } = settings;
    const channels = Number(transformer.config['in_channels'] ?? 4);
    const { spatialScale: scale, patch, sampleSize } = this.model;
    const drawn = this.drawnSize(settings);
    const sizeConditions = Boolean(transformer.config['use_additional_conditions'] ?? sampleSize === 128);
    return {
      batch,
      workload: {
        transformer,
        autoencoder,
        tokens: (drawn.height * drawn.width) / (scale * patch) ** 2,
        ...drawn,
      },
      encode: async () =>
        equalLengths(
          await guidanceBranches(conditions, numImages, (condition) =>
            this.embed(condition, { maxSequenceLength, signal, warnings }),
          ),
        ),
      start: (noise) =>
        startFromNoise(this.components.scheduler, {
          schedule: sigmas ? { sigmas } : timesteps ? { timesteps } : { numInferenceSteps },
          given: settings.latents,
          shape: [batch, channels, drawn.height / scale, drawn.width / scale],
          draw: (shape) => noise.randn(shape),
        }),
      jointCalls: true,
      modelAt: () => transformer,
      inputsAt: (latents, timestep) => ({
        hidden_states: latents,
        timestep: perSample(latents, timestep),
        ...(sizeConditions ? { added_cond_kwargs: sizeConditionsOf(drawn, latents.dim(0)) } : {}),
      }),
      combine: (outputs) => guidedBy(guidanceScale)(outputs.map((output) => firstChannels(output, channels))),
      decode: async (latents) => {
        const pictures = await autoencoder.decode(rawLatents(latents, autoencoder), { signal });
        return { images: imagesFromTensor(resizeAndCrop(pictures, { height, width })) };
      },
    };
  }

  /** The size at which the model draws a picture. */
  private drawnSize({ height, width, useResolutionBinning }: Size & { useResolutionBinning: boolean }): Size {
    const { sampleSize, patch, spatialScale } = this.model;
    if (useResolutionBinning) return nearestTrainedSize({ height, width }, sampleSize);
    for (const [path, edge] of Object.entries({ height, width })) {
      if (edge % (patch * spatialScale) === 0) continue;
      const message = `expected a multiple of ${patch * spatialScale} without useResolutionBinning, got ${edge}`;
      throw new DejaDitError('INVALID_ARGUMENT', message, { path });
    }
    return { height, width };
  }

  /** T5's hidden states of the prompts in lower case, and which of them are text. */
  private async embed(
    { texts: [texts], embeds }: Condition,
    { maxSequenceLength, signal, warnings }: EmbedOptions,
  ): Promise<ForwardInputs> {
    if (embeds) {
      const hidden = embeds.promptEmbeds as Tensor;
      const mask = embeds.promptAttentionMask as Tensor | undefined;
      return { encoder_hidden_states: hidden, encoder_attention_mask: mask ?? ones(hidden.shape.slice(0, 2)) };
    }
    const prepared = texts!.map((text) => text.toLowerCase().trim());
    const each = await this.components.t5.encodeEach(prepared, { maxLength: maxSequenceLength, signal, warnings });
    const padded = padTexts(each);
    return { encoder_hidden_states: padded.embeds, encoder_attention_mask: padded.mask };
  }
}

/** Branches in one call need one number of tokens; the mask hides what is added. */
function equalLengths(branches: readonly GuidanceBranch[]): GuidanceBranch[] {
  const tokens = (tensor: InputValue) => (tensor as Tensor).dim(1);
  const length = Math.max(...branches.map(({ inputs }) => tokens(inputs.encoder_hidden_states)));
  const padded = (inputs: ForwardInputs) =>
    Object.entries(inputs).map(([name, tensor]) => [name, padEnd(tensor as Tensor, { axis: 1, length })] as const);
  return branches.map(({ name, inputs }) => ({ name, inputs: Object.fromEntries(padded(inputs)) }));
}

/** What models at 1024 pixels are told of the picture they draw. */
function sizeConditionsOf({ height, width }: Size, batch: number): ForwardInputs {
  const each = <T>(row: readonly T[]): T[] => Array<readonly T[]>(batch).fill(row).flat();
  return {
    resolution: floatTensor(each([height, width]), [batch, 2]),
    aspect_ratio: floatTensor(each([height / width]), [batch, 1]),
  };
}

function ones(shape: Shape): Tensor {
  return floatTensor(new Float32Array(sizeOf(shape)).fill(1), shape);
}

export const pixartPipelineClass: PipelineClass = {
  classNames: ['PixArtSigmaPipeline', 'PixArtAlphaPipeline'],
  options: pixartOptions,
  async load(folder, defaults, options) {
    const components = await loadComponents(folder, options, async (load) => ({
      scheduler: await load.scheduler(),
      t5: await load.textEncoder(),
      autoencoder: await load.autoencoder(),
      transformer: await load.transformer(),
    }));
    return new PixArtPipeline({ className: folder.className, path: folder.path, defaults }, components);
  },
};
