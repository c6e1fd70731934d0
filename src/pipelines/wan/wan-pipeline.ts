/**
 * Wan 2.1 and 2.2: text to video. Diffusers' `WanPipeline`. Wan 2.2 has two experts: one for the noisy part of the schedule, down
 * to `boundary_ratio` of the training times, one for the rest.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import type { WarningLog } from '../../errors/warnings.ts';
import { videosFromTensor } from '../../images/video.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { cut } from '../../tensor/slices.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { loadComponents } from '../load.ts';
import { ComponentPipeline, type PipelineClass, type PipelineTraits } from '../pipeline.ts';
import { type Condition, guidanceBranches } from '../request/conditions.ts';
import { guide } from '../request/guidance.ts';
import { perSample, rawLatents, startFromNoise } from '../request/latents.ts';
import type { GenerateRequest, Plan } from '../request/request.ts';
import { type EmbedOptions, padTexts, type TextEncoder } from '../request/text-encoder.ts';
import type { Settings } from '../schema/read-settings.ts';
import { cleanPrompt } from './clean-prompt.ts';
import { type WanModel, wanOptions } from './wan-options.ts';

/** What the models were trained at. */
const framesPerSecond = 16;

interface WanComponents extends Record<string, unknown> {
  transformer: TransformerModel;
  transformer_2: TransformerModel | undefined;
  /** Share of the training times at which the second expert takes over. */
  boundaryRatio: number | undefined;
  textEncoder: TextEncoder;
  autoencoder: Autoencoder;
  scheduler: Scheduler;
}

export class WanPipeline extends ComponentPipeline<WanComponents, WanModel, typeof wanOptions> {
  readonly traits: PipelineTraits = { subject: 'prompt', guidance: 'guidanceScale', output: 'videos' };
  protected readonly spec = wanOptions;

  protected get model(): WanModel {
    const { transformer, autoencoder, textEncoder, boundaryRatio } = this.components;
    const [, rows, columns] = (transformer.config['patch_size'] ?? [1, 2, 2]) as [number, number, number];
    return {
      spatialScale: autoencoder.spatialScale,
      patch: [rows, columns],
      twoExperts: boundaryRatio !== undefined,
      maxTextTokens: textEncoder.tokenizer.modelMaxLength,
    };
  }

  protected plan({ settings, warnings }: GenerateRequest<Settings<typeof wanOptions>>): Plan {
    const { transformer, transformer_2, autoencoder, scheduler } = this.components;
    const { conditions, batch, numInferenceSteps, numImages, maxSequenceLength, signal } = settings;
    const { guidanceScale, guidanceScale2 = guidanceScale } = settings;
    const latentFrames = this.latentFrames(settings.numFrames, warnings);
    const {
      spatialScale,
      patch: [rows, columns],
    } = this.model;
    const isNoisy = (timestep: number) => timestep >= this.boundary;
    const decode = async (latents: Tensor) =>
      videosFromTensor(await autoencoder.decode(rawLatents(latents, autoencoder), { signal }), {
        fps: framesPerSecond,
      });
    return {
      batch,
      workload: {
        transformer,
        autoencoder,
        tokens: (latentFrames * settings.height * settings.width) / (rows * columns * spatialScale ** 2),
        height: settings.height,
        width: settings.width,
        frames: 1 + (latentFrames - 1) * (autoencoder.traits.temporalScale ?? 1),
      },
      encode: () =>
        guidanceBranches(conditions, numImages, (condition) =>
          this.embed(condition, { maxSequenceLength, signal, warnings }),
        ),
      start: (noise) =>
        startFromNoise(scheduler, {
          schedule: { numInferenceSteps },
          given: settings.latents,
          shape: [
            batch,
            Number(transformer.config['in_channels'] ?? 16),
            latentFrames,
            settings.height / spatialScale,
            settings.width / spatialScale,
          ],
          draw: (shape) => noise.randn(shape),
        }),
      modelAt: (timestep) => (isNoisy(timestep) ? transformer : transformer_2!),
      inputsAt: (latents, timestep) => ({ hidden_states: latents, timestep: perSample(latents, timestep) }),
      combine: ([cond, uncond], timestep) =>
        uncond ? guide(cond!, uncond, isNoisy(timestep) ? guidanceScale : guidanceScale2) : cond!,
      decode: async (latents) => ({ videos: await decode(latents) }),
      preview: async (latents) =>
        (await decode(cut(latents, { axis: 2, from: 0, to: 1 }))).flatMap(({ frames }) => frames),
    };
  }

  /** Times below it are the second expert's. */
  private get boundary(): number {
    const { boundaryRatio, scheduler } = this.components;
    if (boundaryRatio === undefined) return Number.NEGATIVE_INFINITY;
    return boundaryRatio * Number(scheduler.config['num_train_timesteps']);
  }

  /** The first frame has a latent of its own; after it several share one. */
  private latentFrames(numFrames: number, warnings: WarningLog): number {
    const perLatent = this.components.autoencoder.traits.temporalScale ?? 1;
    const fits = (numFrames - 1) % perLatent === 0;
    const groups = fits ? (numFrames - 1) / perLatent : Math.floor(numFrames / perLatent);
    const possible = 1 + groups * perLatent;
    if (!fits)
      warnings.add(`numFrames ${numFrames} becomes ${possible}: frames after the first come in groups of ${perLatent}`);
    return 1 + groups;
  }

  /** T5's hidden states of the text, zeros behind it: the model was trained to see these zeros. */
  private async embed(
    { texts: [texts], embeds }: Condition,
    { maxSequenceLength, signal, warnings }: EmbedOptions,
  ): Promise<ForwardInputs> {
    if (embeds) return { encoder_hidden_states: embeds.promptEmbeds };
    const each = await this.components.textEncoder.encodeEach(texts!.map(cleanPrompt), {
      maxLength: maxSequenceLength,
      signal,
      warnings,
    });
    return { encoder_hidden_states: padTexts(each, maxSequenceLength).embeds };
  }
}

export const wanPipelineClass: PipelineClass = {
  classNames: ['WanPipeline'],
  options: wanOptions,
  async load(folder, defaults, options) {
    const ratio = folder.options['boundary_ratio'] ?? undefined;
    if (ratio !== undefined && !(typeof ratio === 'number' && ratio >= 0 && ratio <= 1)) {
      throw new DejaDitError('INVALID_CONFIG', `boundary_ratio is ${quote(ratio)}, expected 0 to 1`, {
        path: folder.path,
      });
    }
    const components = await loadComponents(folder, options, async (load) => ({
      scheduler: await load.scheduler(),
      boundaryRatio: ratio,
      textEncoder: await load.textEncoder(),
      autoencoder: await load.autoencoder(),
      transformer: await load.transformer(),
      transformer_2: ratio === undefined ? undefined : await load.transformer('transformer_2'),
    }));
    return new WanPipeline({ className: 'WanPipeline', path: folder.path, defaults }, components);
  },
};
