/** Z-Image: text to image, the text read by a language model as a question to its assistant. Diffusers' `ZImagePipeline`. */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { linspace } from '../../schedulers/spacing/sigma-spacing.ts';
import { cut } from '../../tensor/slices.ts';
import { dims, type Tensor } from '../../tensor/tensor.ts';
import { checkCounts, checkInteger, checkNumber, checkSize, takeOptions, warnIdle } from '../checks.ts';
import {
  type Condition,
  type ConditionNames,
  conditionOptionNames,
  guidanceBranches,
  readConditions,
} from '../conditions.ts';
import { guideBeyond } from '../guidance.ts';
import { decodeImages, perSample, resolutionShift, startFromNoise } from '../latents.ts';
import { loadComponents } from '../load.ts';
import { ComponentPipeline, type PipelineClass, type PipelineTraits } from '../pipeline.ts';
import type { GenerateRequest, Plan } from '../request.ts';
import { affine } from '../tensors.ts';
import type { EmbedOptions, TextEncoder } from '../text-encoder.ts';

const conditionNames: ConditionNames = { texts: ['prompt'], embeds: ['promptEmbeds'], ragged: true };

interface ZImageComponents extends Record<string, unknown> {
  transformer: TransformerModel;
  textEncoder: TextEncoder;
  autoencoder: Autoencoder;
  scheduler: Scheduler;
}

export class ZImagePipeline extends ComponentPipeline<ZImageComponents> {
  readonly traits: PipelineTraits = { subject: 'prompt', guidance: 'guidanceScale', output: 'images' };

  protected plan(request: GenerateRequest): Plan {
    const { options, warnings } = request;
    const { transformer, autoencoder, scheduler } = this.components;
    const settings = this.settings(request);
    const { conditions, guidanceScale, maxNorm, cfgTruncation, numImages, maxSequenceLength } = settings;
    const { steps, sigmas } = settings;
    const { signal } = options;
    const batch = conditions.positive.count * numImages;
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
          given: options.latents,
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

  private settings(request: GenerateRequest) {
    const { autoencoder } = this.components;
    const given = takeOptions(request, {
      known: [
        ...conditionOptionNames(conditionNames),
        'height',
        'width',
        'sigmas',
        'guidanceScale',
        'cfgNormalization',
        'cfgTruncation',
        'maxSequenceLength',
      ],
      defaults: this.origin.defaults,
      pipeline: 'ZImagePipeline',
    });
    const guidanceScale = checkNumber('guidanceScale', given.guidanceScale ?? 5, { min: 0, max: 1000 });
    const guidance = { option: 'guidanceScale', scale: guidanceScale, above: 0 } as const;
    const conditions = readConditions(request, { given, names: conditionNames, guidance });
    const unguided = !conditions.negative && `at guidanceScale ${guidanceScale}; set it above 0`;
    warnIdle(request, { cfgNormalization: unguided, cfgTruncation: unguided });
    return {
      conditions,
      guidanceScale,
      maxNorm: checkNumber('cfgNormalization', asNumber(given.cfgNormalization ?? 0), { min: 0, max: 1000 }),
      cfgTruncation: checkNumber('cfgTruncation', given.cfgTruncation ?? 1, { min: 0, max: 1 }),
      maxSequenceLength: checkInteger('maxSequenceLength', given.maxSequenceLength ?? 512, { min: 1, max: 8192 }),
      ...checkCounts(given, { steps: 50 }),
      ...checkSize(given, { height: 1024, width: 1024, multipleOf: 2 * autoencoder.spatialScale }),
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

function asNumber(value: boolean | number): number {
  return typeof value === 'boolean' ? Number(value) : value;
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
