/** CogVideoX: text to video. Diffusers' `CogVideoXPipeline`. */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { cut } from '../../tensor/slices.ts';
import { dims, floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guide } from '../request/guidance.ts';
import { perSample } from '../request/latents.ts';
import type { LatentLayout } from '../request/plan.ts';
import { fromModel } from '../schema/pipeline-options.ts';
import { withoutGuidance } from '../schema/sizes.ts';
import { videoRotary } from './rotary.ts';

type Model = { readonly vae: Autoencoder; readonly transformer: TransformerModel };

const edge = (name: 'height' | 'width') => ({
  default: fromModel(
    `the transformer's sample_${name}`,
    ({ vae, transformer }: Model) => transformer.traits.sampleVideo![name] * vae.spatialScale,
  ),
  multipleOf: fromModel(
    'the pixels of a token',
    ({ vae, transformer }: Model) => transformer.traits.patch[1] * vae.spatialScale,
  ),
});

export const cogVideoXPipeline = definePipeline({
  classNames: ['CogVideoXPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('CogVideoXTransformer3DModel'),
  },
  output: 'videos',

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 50 },
      height: edge('height'),
      width: edge('width'),
      numFrames: {
        default: fromModel(
          "the transformer's sample_frames",
          ({ transformer }: Model) => transformer.traits.sampleVideo!.frames,
        ),
      },
      guidanceScale: { default: 6 },
      useDynamicCfg: { default: false, idle: withoutGuidance },
      maxSequenceLength: { default: 226 },
    },
  },

  plan({ parts: { textEncoder, transformer, vae }, settings, reading, warnings }) {
    const { batch, height, width, numFrames, numInferenceSteps: steps, guidanceScale, useDynamicCfg } = settings;
    const { inChannels, patch, sampleVideo, rotaryWidth } = transformer.traits;
    const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
    const { temporalScale = 1 } = vae.traits;
    const wanted = 1 + Math.floor((numFrames - 1) / temporalScale);
    // Version 1.5 draws whole patches in time, and what is too much at the beginning is left out.
    const frames = Math.ceil(wanted / patch[0]) * patch[0];
    const decoded = vae.traits.decodedFrames?.(wanted) ?? 1 + (wanted - 1) * temporalScale;
    if (decoded !== numFrames)
      warnings.add(
        `numFrames ${numFrames} becomes ${decoded}, as latents are decoded in chunks; 1 and a multiple of 8 fit`,
      );
    const grid = [frames / patch[0], rows / patch[1], columns / patch[2]] as const;
    const spreadOver = [sampleVideo!.height / patch[1], sampleVideo!.width / patch[2]].map(Math.floor);
    const rotary =
      rotaryWidth === undefined
        ? {}
        : {
            image_rotary_emb: videoRotary({
              grid,
              width: rotaryWidth,
              spreadOver: patch[0] > 1 ? undefined : (spreadOver as [number, number]),
            }),
          };
    return {
      tokens: grid[0] * grid[1] * grid[2] + settings.maxSequenceLength,
      frames: decoded,
      fps: 8,
      embed: async ({ texts: [texts], embeds }) => {
        if (embeds) return { encoder_hidden_states: embeds.promptEmbeds };
        const options = { maxLength: settings.maxSequenceLength, ...reading };
        return { encoder_hidden_states: (await textEncoder.encodePadded(texts!, options)).hidden };
      },
      latents: framesFirst([batch, frames, inChannels, rows, columns], frames - wanted),
      schedule: { numInferenceSteps: steps },
      jointCalls: true,
      inputsAt: (latents, timestep) => ({
        hidden_states: latents,
        timestep: perSample(latents, timestep),
        ...rotary,
      }),
      combine: ([cond, uncond], timestep) => {
        if (!uncond) return cond!;
        const progress = (steps - timestep) / steps;
        const dynamic = 1 + (guidanceScale * (1 - Math.cos(Math.PI * progress ** 5))) / 2;
        return guide(cond!, uncond, useDynamicCfg ? dynamic : guidanceScale);
      },
    };
  },
});

/** Latents that are drawn and taken frame by frame, [B, frames, C, h, w]. @param surplus frames at the beginning that are not shown */
function framesFirst(shape: readonly [number, number, number, number, number], surplus: number): LatentLayout {
  return {
    drawn: shape,
    shape,
    pack: (latents) => latents,
    unpack: (latents) => channelsFirst(cut(latents, { axis: 1, from: surplus, to: shape[1] })),
  };
}

/** [B, F, C, h, w] → [B, C, F, h, w]. */
function channelsFirst(latents: Tensor): Tensor {
  const [batch, frames, channels, rows, columns] = dims(latents, 5);
  const plane = rows * columns;
  const out = new Float32Array(latents.size);
  for (let b = 0; b < batch; b++)
    for (let f = 0; f < frames; f++)
      for (let c = 0; c < channels; c++) {
        const from = ((b * frames + f) * channels + c) * plane;
        out.set(latents.f32.subarray(from, from + plane), ((b * channels + c) * frames + f) * plane);
      }
  return floatTensor(out, [batch, channels, frames, rows, columns]);
}
