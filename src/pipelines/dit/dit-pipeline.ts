/** DiT: one of the classes that the model knows to image, Diffusers' `DiTPipeline`. */
import { DejaDitError, nearestName } from '../../errors/errors.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { checkCounts, checkInteger, checkNumber, shown, takeOptions } from '../checks.ts';
import { guidedBy } from '../guidance.ts';
import { decodeImages, firstChannels, perSample, startFromNoise } from '../latents.ts';
import { loadComponents } from '../load.ts';
import type { GenerateOptions } from '../options.ts';
import { ComponentPipeline, type PipelineClass, type PipelineTraits } from '../pipeline.ts';
import type { GenerateRequest, Plan } from '../request.ts';

interface DiTComponents extends Record<string, unknown> {
  transformer: TransformerModel;
  autoencoder: Autoencoder;
  scheduler: Scheduler;
  /** Numbers by class name, from the checkpoint's `id2label`. */
  labels: ReadonlyMap<string, number>;
}

export class DiTPipeline extends ComponentPipeline<DiTComponents> {
  readonly traits: PipelineTraits = { subject: 'classLabels', guidance: 'guidanceScale', output: 'images' };

  protected plan(request: GenerateRequest): Plan {
    const { options } = request;
    const { transformer, autoencoder } = this.components;
    const { config } = transformer;
    const given = takeOptions(request, {
      known: ['classLabels', 'guidanceScale'],
      defaults: this.origin.defaults,
      pipeline: 'DiTPipeline',
    });
    const { steps, numImages } = checkCounts(given, { steps: 50 });
    const guidanceScale = checkNumber('guidanceScale', given.guidanceScale ?? 4, { min: 0, max: 1000 });
    const classes = Number(config['num_embeds_ada_norm'] ?? 1000);
    const labels = this.readLabels(given.classLabels, classes).flatMap((label) => Array<number>(numImages).fill(label));
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
          schedule: { numInferenceSteps: steps },
          given: options.latents,
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

  private readLabels(value: GenerateOptions['classLabels'], classes: number): number[] {
    const { labels } = this.components;
    const list = Array.isArray(value)
      ? (value as readonly (number | string)[])
      : [value as number | string | undefined];
    if (list.length === 0 || list[0] === undefined)
      throw new DejaDitError('INVALID_ARGUMENT', `expected a number from 0 to ${classes - 1}, a name, or a list`, {
        path: 'classLabels',
      });
    return list.map((label) => {
      const number = typeof label === 'string' ? labels.get(label.trim()) : label;
      if (number !== undefined) return checkInteger('classLabels', number, { min: 0, max: classes - 1 });
      const nearest = nearestName(String(label), labels.keys());
      const hint = `${nearest ? `did you mean '${nearest}'? ` : ''}use a number from 0 to ${classes - 1}`;
      throw new DejaDitError('INVALID_ARGUMENT', `the checkpoint lists no class ${shown(label)}; ${hint}`, {
        path: 'classLabels',
      });
    });
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
