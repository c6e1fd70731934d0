/**
 * Anima: text, and optionally a starting image, to image, a Cosmos transformer that gets texts from a conditioner. Diffusers'
 * `AnimaModularPipeline`.
 */
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import {
  autoencoder,
  guider,
  named,
  scheduler,
  textConditioner,
  textEncoder,
  tokenizer,
  transformer,
} from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { perSample } from '../request/latents.ts';
import { plainLatents } from '../request/plan.ts';
import { flowSigmas } from '../request/schedule.ts';
import { maybeFromImages } from '../request/start-images.ts';
import { idTensor } from '../request/tensors.ts';
import { type EncodeTextOptions, padTexts, type TextEncoder } from '../request/text-encoder.ts';
import { edges, guidersScale, startImage } from '../schema/sizes.ts';

export const animaPipeline = definePipeline({
  classNames: ['AnimaModularPipeline'],
  components: {
    scheduler: scheduler(),
    guider: guider(4),
    textEncoder: textEncoder(),
    t5Tokenizer: named('t5_tokenizer', tokenizer()),
    textConditioner: textConditioner('AnimaTextConditioner'),
    vae: autoencoder(),
    transformer: transformer('CosmosTransformer3DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 50 },
      ...edges(128),
      sigmas: {},
      guidanceScale: guidersScale(4),
      maxSequenceLength: { default: 512, max: 4096 },
      ...startImage(0.9),
    },
  },

  async plan({ parts, settings, reading }) {
    const { textEncoder, t5Tokenizer, textConditioner, transformer, vae, scheduler } = parts;
    const { batch, height, width, maxSequenceLength: maxLength } = settings;
    const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
    const { inChannels, patch } = transformer.traits;
    const latents = plainLatents([batch, inChannels, 1, rows, columns]);
    const padding_mask = floatTensor(new Float32Array(height * width), [1, 1, height, width]);
    return {
      tokens: (rows * columns) / patch[1] ** 2,
      embed: async ({ texts: [texts], embeds }) => {
        if (embeds) return { encoder_hidden_states: embeds['promptEmbeds'] };
        const target = t5Tokenizer.tokenize([...texts!], { padding: 'longest', truncation: true, maxLength });
        const inputs = {
          ...(await readTexts(textEncoder, texts!, { maxLength, ...reading })),
          target_input_ids: idTensor(target.inputIds),
          target_attention_mask: idTensor(target.attentionMask),
        };
        return { encoder_hidden_states: await textConditioner.run(inputs, reading.signal) };
      },
      latents,
      ...(await maybeFromImages({ latents, vae, settings, mean: true })),
      schedule: { sigmas: settings.sigmas ?? flowSigmas(settings.numInferenceSteps) },
      inputsAt: (sample, timestep) => ({
        hidden_states: sample,
        timestep: perSample(sample, Math.fround(timestep) / Number(scheduler.config['num_train_timesteps'] ?? 1000)),
        padding_mask,
      }),
    };
  },
});

/** Hidden states of texts, zeros behind those that are shorter, and of an empty text zeros that nothing sees. */
async function readTexts(
  encoder: TextEncoder,
  texts: readonly string[],
  options: EncodeTextOptions,
): Promise<{ source_hidden_states: Tensor; source_attention_mask: Tensor }> {
  const { embeds, mask } = padTexts(await encoder.encodeEach(texts, options));
  const [length, width] = [embeds.dim(1), embeds.dim(2)];
  const [states, seen] = [embeds.f32.slice(), mask.f32.slice()];
  for (const [i, text] of texts.entries()) {
    if (encoder.tokenizer.encode(text).length > 0) continue;
    states.fill(0, i * length * width, (i + 1) * length * width);
    seen.fill(0, i * length, (i + 1) * length);
  }
  return {
    source_hidden_states: floatTensor(states, embeds.shape),
    source_attention_mask: floatTensor(seen, mask.shape),
  };
}
