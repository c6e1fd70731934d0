/** DiT: one of the classes that the model knows to image, Diffusers' `DiTPipeline`. */
import type { ConfigReader } from '../../models/config-reader.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guidedBy } from '../request/guidance.ts';
import { firstChannels, perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { fromModel } from '../schema/pipeline-options.ts';

interface Labels {
  /** Numbers by class name. */
  labels: ReadonlyMap<string, number>;
}

export const ditPipeline = definePipeline({
  classNames: ['DiTPipeline'],
  components: { scheduler: scheduler(), vae: autoencoder(), transformer: transformer('DiTTransformer2DModel') },
  config: readLabels,

  options: {
    options: {
      numInferenceSteps: {
        default: 50,
        max: fromModel("the scheduler's num_train_timesteps", ({ scheduler }: { scheduler: Scheduler }) =>
          Number(scheduler.config['num_train_timesteps'] ?? 1000),
        ),
      },
      guidanceScale: { default: 4 },
      classLabels: {
        required: true,
        min: 0,
        max: fromModel(
          'the classes that the transformer knows',
          ({ transformer }: { transformer: TransformerModel }) => transformer.traits.classes! - 1,
        ),
        names: fromModel('id2label of model_index.json', ({ config }: { config: Labels }) => [...config.labels.keys()]),
      },
    },
  },

  plan({ parts: { transformer, vae }, config, settings }) {
    const { guidanceScale, numImages, numInferenceSteps } = settings;
    const { classes, sampleSize: size, inChannels, patch } = transformer.traits;
    const asked = [settings.classLabels ?? []].flat() as (number | string)[];
    const labels = asked.flatMap((label) =>
      Array<number>(numImages).fill(typeof label === 'string' ? config.labels.get(label)! : label),
    );
    const edge = size! * vae.spatialScale;
    return {
      tokens: (size! / patch[1]) ** 2,
      size: { height: edge, width: edge },
      // Behind the classes comes the one that stands for none in particular.
      encode: async () => [
        { name: 'cond', inputs: { class_labels: floatTensor(labels) } },
        ...(guidanceScale > 1
          ? [{ name: 'uncond', inputs: { class_labels: floatTensor(labels.map(() => classes!)) } }]
          : []),
      ],
      latents: plainLatents([labels.length, inChannels, size!, size!]),
      schedule: { numInferenceSteps },
      jointCalls: true,
      inputsAt: (latents, timestep) => ({ hidden_states: latents, timestep: perSample(latents, timestep) }),
      combine: (outputs) => guidedBy(guidanceScale)(outputs.map((output) => firstChannels(output, inChannels))),
    };
  },
});

/** `model_index.json` names classes as `{ "0": "tench, Tinca tinca" }`: several names for one number. */
function readLabels({ json }: ConfigReader): Labels {
  const labels = Object.entries(json['id2label'] ?? {}).flatMap(([number, names]) =>
    String(names)
      .split(',')
      .map((name) => [name.trim(), Number(number)] as const),
  );
  return { labels: new Map(labels) };
}
