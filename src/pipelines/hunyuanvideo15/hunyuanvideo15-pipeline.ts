/**
 * HunyuanVideo 1.5: text to video, the text read by Qwen2.5-VL under an instruction, words in quotes by ByT5. Diffusers'
 * `HunyuanVideo15Pipeline`.
 */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { floatTensor, type Shape, sizeOf } from '../../tensor/tensor.ts';
import { autoencoder, guider, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { initialLatents, latentFrames, perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { flowSigmasToZero } from '../request/schedule.ts';
import { fromModel } from '../schema/pipeline-options.ts';
import { aToken, guidersScale } from '../schema/sizes.ts';
import { embedPrompts, embedQuotes } from './prompts.ts';
import { trainedSize } from './trained-size.ts';

const edge = (name: 'height' | 'width') => ({
  default: fromModel(
    'the trained size of 16:9',
    ({ vae, transformer }: { vae: Autoencoder; transformer: TransformerModel }) =>
      trainedSize({ height: 9, width: 16 }, { edge: transformer.traits.targetSize!, unit: vae.spatialScale })[name],
  ),
  multipleOf: aToken,
});

export const hunyuanVideo15Pipeline = definePipeline({
  classNames: ['HunyuanVideo15Pipeline'],
  components: {
    scheduler: scheduler(),
    guider: guider(6),
    textEncoder: textEncoder(),
    textEncoder2: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('HunyuanVideo15Transformer3DModel'),
  },
  output: 'videos',

  options: {
    conditions: {
      texts: ['prompt'],
      embeds: ['promptEmbeds'],
      masks: ['promptEmbedsMask'],
      besides: ['promptEmbeds2', 'promptEmbedsMask2'],
    },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 50 },
      height: edge('height'),
      width: edge('width'),
      numFrames: { default: 121 },
      sigmas: {},
      guidanceScale: guidersScale(6),
      promptEmbeds2: {},
      promptEmbedsMask2: {},
      negativePromptEmbeds2: {},
      negativePromptEmbedsMask2: {},
    },
  },

  plan({ parts: { textEncoder, textEncoder2, transformer, vae }, settings, reading, warnings }) {
    const { batch, numInferenceSteps: steps, sigmas } = settings;
    const { patch, glyphWidth: width = 0, imageWidth = 0 } = transformer.traits;
    const frames = latentFrames(settings.numFrames, { vae, warnings, roundDown: true });
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const latents = plainLatents([batch, vae.latentChannels, frames, rows, columns]);
    return {
      tokens: (frames * rows * columns) / (patch[0] * patch[1] * patch[2]),
      frames: 1 + (frames - 1) * (vae.traits.temporalScale ?? 1),
      fps: 24,
      embed: async (condition) => ({
        ...(await embedPrompts(textEncoder, condition, reading)),
        ...(await embedQuotes(textEncoder2, condition, { width, signal: reading.signal })),
      }),
      latents,
      schedule: { sigmas: sigmas ?? flowSigmasToZero(steps) },
      // There is no image: no first frame, no channel that says which frames are given, and nothing seen.
      start: (noise, ownScheduler) => ({
        latents: initialLatents(ownScheduler, { latents, noise, given: settings.latents }),
        channels: zeros([batch, vae.latentChannels + 1, frames, rows, columns]),
        inputs: { image_embeds: zeros([batch, 1, imageWidth]) },
      }),
      inputsAt: (sample, timestep) => ({ hidden_states: sample, timestep: perSample(sample, timestep) }),
    };
  },
});

function zeros(shape: Shape) {
  return floatTensor(new Float32Array(sizeOf(shape)), shape);
}
