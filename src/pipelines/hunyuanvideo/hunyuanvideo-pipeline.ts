/** HunyuanVideo: text to video, read by Llama under an instruction and by CLIP. Diffusers' `HunyuanVideoPipeline`. */
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { latentFrames, perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { flowSigmasToZero } from '../request/schedule.ts';
import { padTexts } from '../request/text-encoder.ts';
import { noGuidanceEmbedding, twoLatents } from '../schema/sizes.ts';

/** What the model was trained with; the tokens before the prompt are read, but not passed on. */
const instruction = {
  template:
    '<|start_header_id|>system<|end_header_id|>\n\nDescribe the video by detailing the following aspects: ' +
    '1. The main content and theme of the video.' +
    '2. The color, shape, size, texture, quantity, text, and spatial relationships of the objects.' +
    '3. Actions, events, behaviors temporal relationships, physical movement changes of the objects.' +
    '4. background environment, light, style and atmosphere.' +
    '5. camera angles, movements, and transitions used in the video:<|eot_id|>' +
    '<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>',
  cropStart: 95,
};

export const hunyuanVideoPipeline = definePipeline({
  classNames: ['HunyuanVideoPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    textEncoder2: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('HunyuanVideoTransformer3DModel'),
  },
  output: 'videos',

  options: {
    conditions: {
      texts: ['prompt', 'prompt2'],
      embeds: ['promptEmbeds', 'pooledPromptEmbeds'],
      masks: ['promptAttentionMask'],
    },
    guidance: { option: 'trueCfgScale', needsNegative: true },
    options: {
      numInferenceSteps: { default: 50 },
      height: { default: 720, multipleOf: twoLatents },
      width: { default: 1280, multipleOf: twoLatents },
      numFrames: { default: 129 },
      sigmas: {},
      trueCfgScale: { default: 1 },
      guidanceScale: { default: 6, unused: noGuidanceEmbedding },
      promptTemplate: { default: instruction },
      maxSequenceLength: { default: 256 },
    },
  },

  plan({ parts: { textEncoder, textEncoder2, transformer, vae }, settings, reading, warnings }) {
    const { batch, height, width, guidanceScale, maxSequenceLength, promptTemplate } = settings;
    const { numInferenceSteps: steps, sigmas } = settings;
    const { inChannels, patch, guidanceEmbedding } = transformer.traits;
    const frames = latentFrames(settings.numFrames, { vae, warnings, roundDown: true });
    const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
    return {
      tokens: (frames * rows * columns) / (patch[0] * patch[1] * patch[2]) + maxSequenceLength,
      frames: 1 + (frames - 1) * (vae.traits.temporalScale ?? 1),
      fps: 24,
      embed: async ({ texts: [forLlama, forClip], embeds }) => {
        if (embeds)
          return {
            encoder_hidden_states: embeds.promptEmbeds,
            encoder_attention_mask: embeds.promptAttentionMask,
            pooled_projections: embeds.pooledPromptEmbeds,
          };
        const each = await textEncoder.encodeEach(
          forLlama!.map((text) => promptTemplate.template.replace('{}', () => text)),
          {
            maxLength: maxSequenceLength,
            templateTokens: promptTemplate.cropStart ?? promptTemplate.crop_start ?? 0,
            hiddenState: -3,
            ...reading,
          },
        );
        const clip = { maxLength: textEncoder2.tokenizer.modelMaxLength, signal: reading.signal };
        const { pooled } = await textEncoder2.encodePadded(forClip!, clip);
        const { embeds: hidden, mask } = padTexts(each);
        return { encoder_hidden_states: hidden, encoder_attention_mask: mask, pooled_projections: pooled };
      },
      latents: plainLatents([batch, inChannels, frames, rows, columns]),
      schedule: { sigmas: sigmas ?? flowSigmasToZero(steps) },
      inputsAt: (latents, timestep) => ({
        hidden_states: latents,
        timestep: perSample(latents, timestep),
        ...(guidanceEmbedding ? { guidance: perSample(latents, guidanceScale * 1000) } : {}),
      }),
    };
  },
});
