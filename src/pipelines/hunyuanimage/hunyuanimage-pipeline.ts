/**
 * HunyuanImage 2.1: text to image, the text read by a language model under an instruction, words in quotes by ByT5. Distilled models are
 * told the guidance, and the time at which a step ends. Diffusers' `HunyuanImagePipeline`.
 */
import type { ForwardInputs } from '../../models/inputs.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { autoencoder, mixGuider, optional, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import type { Condition } from '../request/conditions.ts';
import { initialLatents, perSample } from '../request/latents.ts';
import { type MixGuider, mixGuidance } from '../request/mix-guidance.ts';
import { plainLatents } from '../request/plan.ts';
import { flowSigmasToZero } from '../request/schedule.ts';
import { embedMasked } from '../request/text-encoder.ts';
import { fromModel } from '../schema/pipeline-options.ts';
import { aLatent, edges, type HasTransformer } from '../schema/sizes.ts';
import { embedGlyphs, glyphText } from './glyphs.ts';

const instruction =
  'Describe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the objects and background:';
const conversation = (prompt: string) =>
  `<|im_start|>system\n${instruction}<|im_end|>\n<|im_start|>user\n${prompt}<|im_end|>`;
/** Tokens of it before the prompt, which are read, but not passed on; and those of a prompt. */
const [templateTokens, maxLength] = [34, 1000];

const edge = { ...edges(64).height, multipleOf: aLatent };
const scaleOf = (guider: MixGuider | undefined) => (guider?.enabled ? guider.guidanceScale : 1);
const ofGuider = fromModel(
  "the guider's guidance_scale, without one 1",
  (model: { readonly guider: MixGuider | undefined }) => scaleOf(model.guider),
);

const wordless = {
  because: 'as this model is not told of words to be written',
  when: ({ transformer }: HasTransformer) => transformer.traits.glyphWidth === undefined,
};

export const hunyuanImagePipeline = definePipeline({
  classNames: ['HunyuanImagePipeline'],
  components: {
    scheduler: scheduler(),
    guider: optional(mixGuider()),
    ocrGuider: optional(mixGuider()),
    textEncoder: textEncoder(),
    textEncoder2: optional(textEncoder()),
    vae: autoencoder(),
    transformer: transformer('HunyuanImageTransformer2DModel'),
  },

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
      height: edge,
      width: edge,
      sigmas: {},
      guidanceScale: { default: ofGuider },
      distilledGuidanceScale: {
        default: 3.25,
        unused: {
          because: 'as this model has no guidance embedding; use guidanceScale',
          when: ({ transformer }) => !transformer.traits.guidanceEmbedding,
        },
      },
      promptEmbeds2: { unused: wordless },
      promptEmbedsMask2: { unused: wordless },
      negativePromptEmbeds2: { unused: wordless },
      negativePromptEmbedsMask2: { unused: wordless },
    },
  },

  plan({ parts, settings, reading, warnings }) {
    const { transformer, vae, textEncoder, textEncoder2 } = parts;
    const { batch, numInferenceSteps: steps, sigmas, distilledGuidanceScale, conditions } = settings;
    const { inChannels, patch, guidanceEmbedding, takesEndTime, glyphWidth } = transformer.traits;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const latents = plainLatents([batch, inChannels, rows, columns]);
    const { texts: [prompts = []] = [], besides } = conditions.positive;
    const hasGlyphs = prompts.some((prompt) => glyphText(prompt) !== undefined);
    if (hasGlyphs && !besides['promptEmbeds2'] && glyphWidth !== undefined && !textEncoder2)
      warnings.add('words in quotes are not spelled out, as this checkpoint has no text_encoder_2');

    const glyphReading = { maxLength: 128, signal: reading.signal };
    const embedded = async ({ texts: [texts = []], besides: given }: Condition): Promise<ForwardInputs> => {
      if (glyphWidth === undefined) return {};
      const { promptEmbeds2: embeds, promptEmbedsMask2: mask } = given;
      if (embeds) return { encoder_hidden_states_2: embeds, encoder_attention_mask_2: mask };
      return (textEncoder2 && (await embedGlyphs(textEncoder2, texts.map(glyphText), glyphReading))) ?? {};
    };
    const own = scaleOf(parts.guider);
    const chosen = (hasGlyphs && parts.ocrGuider) || parts.guider;
    const scale = settings.guidanceScale === own ? scaleOf(chosen) : settings.guidanceScale;
    const guidance = chosen && mixGuidance(chosen, { scale, steps });
    let times: readonly number[] = [];
    return {
      tokens: (rows * columns) / (patch[1] * patch[2]) + maxLength,
      embed: async (condition) => ({
        ...(await embedMasked(textEncoder, condition, {
          prepare: conversation,
          maxLength,
          templateTokens,
          hiddenState: -3,
          ...reading,
        })),
        ...(await embedded(condition)),
      }),
      latents,
      schedule: { sigmas: sigmas ?? flowSigmasToZero(steps) },
      start: (noise, ownScheduler) => {
        times = ownScheduler.timesteps;
        return { latents: initialLatents(ownScheduler, { latents, noise, given: settings.latents }) };
      },
      inputsAt: (sample: Tensor, timestep) => ({
        hidden_states: sample,
        timestep: perSample(sample, timestep),
        ...(takesEndTime ? { timestep_r: perSample(sample, times[times.indexOf(timestep) + 1] ?? 0) } : {}),
        ...(guidanceEmbedding ? { guidance: perSample(sample, distilledGuidanceScale * 1000) } : {}),
      }),
      ...(guidance && {
        guidedAt: (_, index) => guidance.guidedAt(index),
        combine: guidance.combine,
      }),
    };
  },
});
