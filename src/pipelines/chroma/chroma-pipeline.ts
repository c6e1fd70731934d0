/**
 * Chroma: FLUX without CLIP and without distilled guidance, its text masked; optionally from a starting image. Diffusers' `ChromaPipeline` and
 * `ChromaImg2ImgPipeline`.
 */
import { join } from '../../tensor/slices.ts';
import { dims, floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { fluxInputs } from '../flux/calls.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { maybeFromImages } from '../request/start-images.ts';
import { edges, startImage, textLength } from '../schema/sizes.ts';

export const chromaPipeline = definePipeline({
  classNames: ['ChromaPipeline', 'ChromaImg2ImgPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('ChromaTransformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], masks: ['promptAttentionMask'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 35 },
      ...edges(128),
      sigmas: {},
      guidanceScale: { default: 5 },
      maxSequenceLength: textLength(512, 'textEncoder'),
      ...startImage(0.9),
    },
  },

  async plan({ parts: { textEncoder, transformer, vae, scheduler }, settings, reading }) {
    const { batch, maxSequenceLength } = settings;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const tokens = (rows * columns) / 4;
    const latents = packedLatents([batch, transformer.traits.inChannels / 4, rows, columns]);
    const picture = (texts: number) => floatTensor(new Float32Array(texts * tokens).fill(1), [texts, tokens]);
    return {
      tokens: tokens + maxSequenceLength,
      embed: async ({ count, texts: [texts], embeds }) => {
        if (embeds) {
          const hidden = embeds['promptEmbeds'] as Tensor;
          const mask = (embeds['promptAttentionMask'] as Tensor | undefined) ?? allOnes(hidden);
          return { encoder_hidden_states: hidden, attention_mask: join([mask, picture(count)], 1) };
        }
        const options = { maxLength: maxSequenceLength, masked: true, ...reading };
        const { hidden, mask } = await textEncoder.encodePadded(texts!, options);
        return { encoder_hidden_states: hidden, attention_mask: join([withOnePad(mask), picture(count)], 1) };
      },
      latents,
      ...(await maybeFromImages({ latents, vae, settings })),
      schedule: flowSchedule(settings, { scheduler, tokens }),
      inputsAt: fluxInputs(transformer, { rows: rows / 2, columns: columns / 2, guidanceScale: 0 }),
    };
  },
});

/** The model was trained to see one token of padding. */
function withOnePad(mask: Tensor): Tensor {
  const [texts, length] = dims(mask, 2);
  const seen = mask.f32.map((value, i) => (value === 1 || (i % length > 0 && mask.f32[i - 1] === 1) ? 1 : 0));
  return floatTensor(seen, [texts, length]);
}

function allOnes(hidden: Tensor): Tensor {
  const [texts, length] = dims(hidden, 3);
  return floatTensor(new Float32Array(texts * length).fill(1), [texts, length]);
}
