/**
 * SANA-Sprint: Sana distilled into a consistency model that takes one to four steps. Diffusers' `SanaSprintPipeline`. Its
 * schedule is in angles; the transformer counts time as the flow it was made from.
 */
import { imagesFromTensor } from '../../images/image.ts';
import type { Scheduler } from '../../schedulers/scheduler.ts';
import { linspace } from '../../schedulers/spacing/sigma-spacing.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { drawnSize, resizeAndCrop } from '../pixart/aspect-ratios.ts';
import { initialLatents, perSample, rawLatents } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { affine } from '../request/tensors.ts';
import { onEmbeddings, trainedEdge } from '../schema/sizes.ts';
import { complexHumanInstruction, embedSana } from './embed.ts';

export const sanaSprintPipeline = definePipeline({
  classNames: ['SanaSprintPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('SanaTransformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], masks: ['promptAttentionMask'], positiveOnly: true },
    options: {
      numInferenceSteps: { default: 2 },
      height: trainedEdge,
      width: trainedEdge,
      useResolutionBinning: { default: true },
      timesteps: {},
      maxTimesteps: { default: 1.5708 },
      intermediateTimesteps: {
        default: 1.3,
        idle: { because: 'unless there are two steps', when: ({ numInferenceSteps }) => numInferenceSteps !== 2 },
      },
      guidanceScale: { default: 4.5 },
      complexHumanInstruction: { default: complexHumanInstruction },
      maxSequenceLength: { default: 300 },
      cleanCaption: { default: false, idle: onEmbeddings },
    },
  },

  plan({ parts: { textEncoder, transformer, vae, scheduler }, settings, reading }) {
    const { batch, guidanceScale, maxSequenceLength } = settings;
    const { inChannels, patch, guidanceScale: perScale = 1 } = transformer.traits;
    const size = drawnSize(settings, { transformer, vae });
    const [rows, columns] = [size.height / vae.spatialScale, size.width / vae.spatialScale];
    const instruction = [settings.complexHumanInstruction].flat();
    const latents = plainLatents([batch, inChannels, rows, columns]);
    const sigmaData = sigmaDataOf(scheduler);
    return {
      tokens: (rows * columns) / patch[1] ** 2,
      size,
      embed: (condition) =>
        embedSana(textEncoder, condition, {
          instruction,
          clean: settings.cleanCaption,
          maxLength: maxSequenceLength,
          ...reading,
        }),
      latents,
      schedule: { timesteps: angles(settings) },
      start: (noise, ownScheduler) => ({
        latents: affine(initialLatents(ownScheduler, { latents, noise, given: settings.latents }), {
          scale: sigmaData,
        }),
      }),
      inputsAt: (sample, timestep) => ({
        hidden_states: onFlow(sample, { timestep, sigmaData }),
        timestep: perSample(sample, flowTime(timestep)),
        guidance: perSample(sample, guidanceScale * perScale),
      }),
      combine: ([output], timestep, sample) => fromFlow(output!, { sample, timestep, sigmaData }),
      decode: async (final, signal) => {
        const pictures = await vae.decode(rawLatents(affine(final, { scale: 1 / sigmaData }), vae), { signal });
        return { images: imagesFromTensor(resizeAndCrop(pictures, settings)) };
      },
    };
  },
});

/** Standard deviation of the latents that the scheduler counts with. */
function sigmaDataOf({ config }: Scheduler): number {
  return Number(config['sigma_data']);
}

interface Schedule {
  numInferenceSteps: number;
  timesteps?: readonly number[];
  maxTimesteps: number;
  intermediateTimesteps: number;
}

function angles({ numInferenceSteps: steps, timesteps, maxTimesteps, intermediateTimesteps }: Schedule) {
  if (timesteps) return timesteps;
  if (steps === 2) return [maxTimesteps, intermediateTimesteps];
  return [...linspace(maxTimesteps, 0, steps + 1).slice(0, -1)];
}

/** The time of the flow at an angle of the schedule. */
function flowTime(timestep: number): number {
  return Math.sin(timestep) / (Math.cos(timestep) + Math.sin(timestep));
}

interface At {
  timestep: number;
  sigmaData: number;
}

const norm = (time: number) => Math.sqrt(time ** 2 + (1 - time) ** 2);

/** Latents of the schedule as the flow has them. */
function onFlow(sample: Tensor, { timestep, sigmaData }: At): Tensor {
  return affine(affine(sample, { scale: 1 / sigmaData }), { scale: norm(flowTime(timestep)) });
}

/** What the flow predicts, as the schedule steps with it. */
function fromFlow(output: Tensor, { sample, timestep, sigmaData }: At & { sample: Tensor }): Tensor {
  const time = flowTime(timestep);
  const input = onFlow(sample, { timestep, sigmaData }).f32;
  const [ofInput, ofOutput] = [1 - 2 * time, 1 - 2 * time + 2 * time ** 2];
  const scale = sigmaData / norm(time);
  return floatTensor(
    output.f32.map((value, i) => (ofInput * input[i]! + ofOutput * value) * scale),
    output.shape,
  );
}
