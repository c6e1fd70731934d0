/**
 * HiDream-I1: text to image, read by two CLIP encoders, T5 and all layers of Llama. Whatever size is asked for, pictures have as many pixels
 * as a square of 128 latents. Diffusers' `HiDreamImagePipeline`.
 */

import { calculateShift } from '../../schedulers/spacing/flow-shift.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guidedBy } from '../request/guidance.ts';
import { perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { affine, swapFirstAxes } from '../request/tensors.ts';
import { edges, textLength } from '../schema/sizes.ts';
import { embedHiDream } from './embed.ts';

const squareEdge = 128;
const edge = { default: edges(squareEdge).height.default };

export const hiDreamImagePipeline = definePipeline({
  classNames: ['HiDreamImagePipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    textEncoder2: textEncoder(),
    textEncoder3: textEncoder(),
    textEncoder4: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('HiDreamImageTransformer2DModel'),
  },

  options: {
    conditions: {
      texts: ['prompt', 'prompt2', 'prompt3', 'prompt4'],
      embeds: ['promptEmbedsT5', 'promptEmbedsLlama3', 'pooledPromptEmbeds'],
    },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 50 },
      height: edge,
      width: edge,
      sigmas: {
        unused: {
          because: 'as the scheduler of this checkpoint lays out its own',
          when: ({ scheduler }) => scheduler.className === 'UniPCMultistepScheduler',
        },
      },
      guidanceScale: { default: 5 },
      maxSequenceLength: textLength(128, 'textEncoder4'),
    },
  },

  plan({ parts, settings, reading, warnings }) {
    const { transformer, vae, scheduler } = parts;
    const { batch, maxSequenceLength, guidanceScale, sigmas, numInferenceSteps } = settings;
    const { inChannels, patch, maxTokens } = transformer.traits;
    const size = drawnSize(settings, vae.spatialScale);
    if (size.height !== settings.height || size.width !== settings.width)
      warnings.add(
        `height ${settings.height} and width ${settings.width} become ${size.height} and ${size.width}, the size of this shape that the model draws`,
      );
    const [rows, columns] = [size.height / vae.spatialScale, size.width / vae.spatialScale];
    const levels = sigmas ? { sigmas } : { numInferenceSteps };
    const mu = calculateShift({ imageSeqLen: maxTokens! });
    const guided = guidedBy(guidanceScale);
    let layers: { of?: Tensor; first?: Tensor } = {};
    return {
      tokens: (rows * columns) / (patch[1] * patch[2]) + 3 * maxSequenceLength,
      size,
      embed: (condition) => embedHiDream(parts, condition, { maxLength: maxSequenceLength, ...reading }),
      latents: plainLatents([batch, inChannels, rows, columns]),
      schedule: scheduler.className === 'UniPCMultistepScheduler' ? levels : { ...levels, mu },
      jointCalls: true,
      inputsAt: (latents, timestep) => ({ hidden_states: latents, timesteps: perSample(latents, timestep) }),
      // The one input whose samples are not on the first axis.
      besides: async (_, { branch: { encoder_hidden_states_llama3: states } }) => {
        if (layers.of !== states) layers = { of: states as Tensor, first: swapFirstAxes(states as Tensor) };
        return { encoder_hidden_states_llama3: layers.first };
      },
      combine: (outputs) => affine(guided(outputs), { scale: -1 }),
    };
  },
});

/** The size of a shape that has as many pixels as the square, in whole tokens. */
function drawnSize({ height, width }: { height: number; width: number }, spatialScale: number) {
  const token = 2 * spatialScale;
  const scale = Math.sqrt((squareEdge * spatialScale) ** 2 / (width * height));
  const fitted = (edge: number) => Math.floor((edge * scale) / token) * token;
  return { height: fitted(height), width: fitted(width) };
}
