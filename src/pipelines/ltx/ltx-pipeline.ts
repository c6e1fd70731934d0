/** LTX-Video: text to video, on few latents. Diffusers' `LTXPipeline`. */
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { guidanceBranches } from '../request/conditions.ts';
import { guideRescaled } from '../request/guidance.ts';
import { latentFrames, perSample } from '../request/latents.ts';
import { packTokens, unpackTokens } from '../request/packing.ts';
import type { LatentLayout } from '../request/plan.ts';
import { flowSchedule } from '../request/schedule.ts';
import { aLatent } from '../schema/sizes.ts';

export const ltxPipeline = definePipeline({
  classNames: ['LTXPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('LTXVideoTransformer3DModel'),
  },
  output: 'videos',

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], masks: ['promptAttentionMask'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 50 },
      height: { default: 512, multipleOf: aLatent },
      width: { default: 704, multipleOf: aLatent },
      numFrames: { default: 161 },
      frameRate: { default: 25 },
      sigmas: {},
      guidanceScale: { default: 3 },
      guidanceRescale: { default: 0 },
      maxSequenceLength: { default: 128 },
    },
  },

  plan({ parts: { textEncoder, vae, scheduler }, settings, reading, warnings }) {
    const { conditions, batch, numImages, height, width, frameRate, maxSequenceLength } = settings;
    const { guidanceScale: scale, guidanceRescale: rescale } = settings;
    const frames = latentFrames(settings.numFrames, { vae, warnings, roundDown: true });
    const temporalScale = vae.traits.temporalScale ?? 1;
    const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
    const options = { maxLength: maxSequenceLength, ...reading };
    return {
      tokens: frames * rows * columns,
      frames: 1 + (frames - 1) * temporalScale,
      fps: frameRate,
      encode: () =>
        guidanceBranches(conditions, numImages, async ({ texts: [texts], embeds }) => {
          if (embeds)
            return { encoder_hidden_states: embeds.promptEmbeds, encoder_attention_mask: embeds.promptAttentionMask };
          const { hidden, mask } = await textEncoder.encodePadded(texts!, options);
          return { encoder_hidden_states: hidden, encoder_attention_mask: mask };
        }),
      latents: videoTokens([batch, vae.latentChannels, frames, rows, columns]),
      schedule: flowSchedule(settings, { scheduler, tokens: frames * rows * columns }),
      jointCalls: true,
      inputsAt: (latents, timestep) => ({
        hidden_states: latents,
        timestep: perSample(latents, timestep),
        num_frames: frames,
        height: rows,
        width: columns,
        rope_interpolation_scale: [temporalScale / frameRate, vae.spatialScale, vae.spatialScale],
      }),
      combine: ([cond, uncond]) => (uncond ? guideRescaled(cond!, uncond, { scale, rescale }) : cond!),
    };
  },
});

/** Every latent is a token. */
function videoTokens(drawn: readonly [number, number, number, number, number]): LatentLayout {
  const [batch, channels, frames, rows, columns] = drawn;
  return {
    drawn,
    shape: [batch, frames * rows * columns, channels],
    pack: (latents) => packTokens(latents.reshape([batch, channels, frames * rows, columns])),
    unpack: (tokens) =>
      unpackTokens(tokens, frames * rows, columns).reshape([tokens.dim(0), channels, frames, rows, columns]),
  };
}
