/** DiT: one of the classes that the model knows to image, Diffusers' `DiTPipeline`. */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { loadComponents } from '../load.ts';
import { ComponentPipeline, type PipelineClass, type PipelineTraits } from '../pipeline.ts';
import { guidedBy } from '../request/guidance.ts';
import { decodeImages, firstChannels, perSample, startFromNoise } from '../request/latents.ts';
import type { GenerateRequest, Plan } from '../request/request.ts';
import type { GenerateOptions } from '../schema/options.ts';
import type { Settings } from '../schema/read-settings.ts';
import { type DiTModel, ditOptions } from './dit-options.ts';

interface DiTComponents extends Record<string, unknown> {
  transformer: TransformerModel;
  autoencoder: Autoencoder;
  scheduler: Scheduler;
  /** Numbers by class name, from the checkpoint's `id2label`. */
  labels: ReadonlyMap<string, number>;
}

export class DiTPipeline extends ComponentPipeline<DiTComponents, DiTModel, typeof ditOptions> {
  readonly traits: PipelineTraits = { subject: 'classLabels', guidance: 'guidanceScale', output: 'images' };
  protected readonly spec = ditOptions;

  protected get model(): DiTModel {
    const { transformer, labels, scheduler } = this.components;
    return {
      trainTimesteps: Number(scheduler.config['num_train_timesteps'] ?? 1000),
      classes: Number(transformer.config['num_embeds_ada_norm'] ?? 1000),
      names: [...labels.keys()],
    };
  }

  protected plan({ settings }: GenerateRequest<Settings<typeof ditOptions>>): Plan {
    const { transformer, autoencoder } = this.components;
    const { config } = transformer;
    const { guidanceScale, numImages } = settings;
    const { classes } = this.model;
    const labels = this.numbersOf(settings).flatMap((label) => Array<number>(numImages).fill(label));
    const size = Number(config['sample_size'] ?? 32);
    const channels = Number(config['in_channels'] ?? 4);
    return {
      batch: labels.length,
      workload: {
        transformer,
        autoencoder,
        tokens: (size / Number(config['patch_size'] ?? 2)) ** 2,
        height: size * autoencoder.spatialScale,
        width: size * autoencoder.spatialScale,
      },
      // Behind the classes comes the one that stands for none in particular.
      encode: async () => [
        { name: 'cond', inputs: { class_labels: floatTensor(labels) } },
        ...(guidanceScale > 1
          ? [{ name: 'uncond', inputs: { class_labels: floatTensor(labels.map(() => classes)) } }]
          : []),
      ],
      start: (noise) =>
        startFromNoise(this.components.scheduler, {
          schedule: { numInferenceSteps: settings.numInferenceSteps },
          given: settings.latents,
          shape: [labels.length, channels, size, size],
          draw: (shape) => noise.randn(shape),
        }),
      jointCalls: true,
      modelAt: () => transformer,
      inputsAt: (latents, timestep) => ({ hidden_states: latents, timestep: perSample(latents, timestep) }),
      combine: (outputs) => guidedBy(guidanceScale)(outputs.map((output) => firstChannels(output, channels))),
      decode: async (latents, signal) => ({ images: await decodeImages(autoencoder, latents, signal) }),
    };
  }

  private numbersOf({ classLabels = [] }: GenerateOptions): number[] {
    return [classLabels]
      .flat()
      .map((label) => (typeof label === 'string' ? this.components.labels.get(label)! : label));
  }
}

/** `model_index.json` names classes as `{ "0": "tench, Tinca tinca" }`: several names for one number. */
function labelNumbers(id2label: unknown): Map<string, number> {
  return new Map(
    Object.entries(id2label ?? {}).flatMap(([number, names]) =>
      String(names)
        .split(',')
        .map((name) => [name.trim(), Number(number)] as const),
    ),
  );
}

export const ditPipelineClass: PipelineClass = {
  classNames: ['DiTPipeline'],
  options: ditOptions,
  async load(folder, defaults, options) {
    const components = await loadComponents(folder, options, async (load) => ({
      scheduler: await load.scheduler(),
      labels: labelNumbers(folder.options['id2label']),
      autoencoder: await load.autoencoder(),
      transformer: await load.transformer(),
    }));
    return new DiTPipeline({ className: 'DiTPipeline', path: folder.path, defaults }, components);
  },
};
