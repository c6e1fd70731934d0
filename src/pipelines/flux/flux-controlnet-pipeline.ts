/** FLUX.1 with a ControlNet: text to image along a picture of edges, depth, poses or the like. Diffusers' `FluxControlNetPipeline`. */
import { DejaDitError } from '../../errors/errors.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import { intTensor, type Tensor } from '../../tensor/tensor.ts';
import { controlNet } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { initialLatents, perSample } from '../request/latents.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { encodePictures, loadPixels } from '../request/start-images.ts';
import { repeatRows } from '../request/tensors.ts';
import { edges, noGuidanceEmbedding, promptWeighting, textLength } from '../schema/sizes.ts';
import { embedFlux, fluxComponents, fluxInputs } from './calls.ts';

const { transformer: fluxTransformer, ...fluxParts } = fluxComponents;

export const fluxControlNetPipeline = definePipeline({
  classNames: ['FluxControlNetPipeline'],
  components: { ...fluxParts, controlnet: controlNet('FluxControlNetModel'), transformer: fluxTransformer },

  options: {
    conditions: { texts: ['prompt', 'prompt2'], embeds: ['promptEmbeds', 'pooledPromptEmbeds'] },
    guidance: { option: 'trueCfgScale', needsNegative: true },
    options: {
      numInferenceSteps: { default: 28 },
      ...edges(128),
      sigmas: {},
      trueCfgScale: { default: 1 },
      guidanceScale: { default: 7, unused: noGuidanceEmbedding },
      maxSequenceLength: textLength(512, 'textEncoder2'),
      promptWeighting,
      controlImage: { required: true },
      controlMode: {
        unused: {
          because: 'as this ControlNet knows one kind of pictures',
          when: ({ controlnet }) => !controlnet.config['num_mode'],
        },
      },
      controlnetConditioningScale: { default: 1 },
      controlGuidanceStart: { default: 0 },
      controlGuidanceEnd: { default: 1 },
    },
  },

  async plan({ parts, settings, reading, warnings }) {
    const { transformer, vae, scheduler, controlnet } = parts;
    const { batch, maxSequenceLength, guidanceScale, numInferenceSteps: steps, controlMode, signal } = settings;
    const { controlGuidanceStart: from, controlGuidanceEnd: to } = settings;
    const actsAt = (index: number) => index / steps >= from && (index + 1) / steps <= to;
    if (!Array.from({ length: steps }, (_, index) => actsAt(index)).includes(true))
      warnings.add(
        `the ControlNet has no effect, as none of ${steps} steps is within controlGuidanceStart ${from} and controlGuidanceEnd ${to}`,
      );
    const knowsModes = Boolean(controlnet.config['num_mode']);
    if (knowsModes && controlMode === undefined)
      throw new DejaDitError('INVALID_ARGUMENT', 'missing: this ControlNet knows several kinds of pictures', {
        path: 'controlMode',
      });
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const latents = packedLatents([batch, transformer.traits.inChannels / 4, rows, columns]);
    const tokens = (rows * columns) / 4;
    const given = await loadPixels(settings.controlImage, settings);
    // Each is for the pictures of one prompt, which have samples of their own.
    const pixels = repeatRows(given, batch / given.dim(0));
    const inputsAt = fluxInputs(transformer, { rows: rows / 2, columns: columns / 2, guidanceScale });
    let picture: Tensor | undefined;
    let idle: ForwardInputs | undefined;
    return {
      tokens: tokens + maxSequenceLength,
      embed: (condition) => embedFlux(parts, condition, { maxLength: maxSequenceLength, ...reading }),
      latents,
      schedule: flowSchedule(settings, { scheduler, tokens }),
      start: async (noise, ownScheduler) => {
        picture = latents.pack((await encodePictures(pixels, { vae, batch, noise, signal })).reshape(latents.drawn));
        return { latents: initialLatents(ownScheduler, { latents, noise, given: settings.latents }) };
      },
      inputsAt,
      besides: async (sample, { timestep, index, branch }) => {
        const acts = actsAt(index);
        if (!acts && idle) return idle;
        const { guidance: _, ...call } = inputsAt(sample, timestep, branch);
        const outputs = await controlnet.call(
          'forward',
          {
            ...call,
            ...branch,
            controlnet_cond: picture,
            conditioning_scale: acts ? settings.controlnetConditioningScale : 0,
            ...(controlnet.config['guidance_embeds'] ? { guidance: perSample(sample, guidanceScale) } : {}),
            ...(knowsModes ? { controlnet_mode: intTensor(Array(batch).fill(controlMode), [batch, 1]) } : {}),
          },
          signal,
        );
        const samples = samplesOf(outputs);
        // What does not act adds nothing; in tensors of the same shapes, so that a cache goes on.
        if (!acts) idle = samples;
        return samples;
      },
    };
  },
});

/** The outputs of a ControlNet as the lists that its transformer takes. */
function samplesOf(outputs: Readonly<Record<string, Tensor>>): ForwardInputs {
  const lists = ['controlnet_block_samples', 'controlnet_single_block_samples'].map((name) => {
    const count = Object.keys(outputs).filter((key) => key.startsWith(`${name}.`)).length;
    return [name, Array.from({ length: count }, (_, i) => outputs[`${name}.${i}`]!)] as const;
  });
  return Object.fromEntries(lists.filter(([, samples]) => samples.length > 0));
}
