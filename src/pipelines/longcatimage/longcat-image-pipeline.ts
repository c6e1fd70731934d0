/** LongCat-Image: text to image, quotes in it read letter by letter. Diffusers' `LongCatImagePipeline`. */
import type { WarningLog } from '../../errors/warnings.ts';
import { cut } from '../../tensor/slices.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { diagonalIds, imageIds } from '../flux/positions.ts';
import { guide, guideKeepingNorm } from '../request/guidance.ts';
import { perSample } from '../request/latents.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { cutText, type TextEncoder } from '../request/text-encoder.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { edges, withoutGuidance } from '../schema/sizes.ts';
import { spelledText } from './spelled-text.ts';

/** What is read before the prompt, and not passed on. */
const opening =
  '<|im_start|>system\nAs an image captioning expert, generate a descriptive text prompt based on an image content, suitable for input to a text-to-image model.<|im_end|>\n<|im_start|>user\n';

/** Of every prompt: the rest is cut, and padding, which the transformer sees too, fills what is missing. */
const textTokens = 512;

const unnormalised = {
  because: 'without guidance and enableCfgRenorm',
  when: (options: GenerateOptions) => options.enableCfgRenorm === false || withoutGuidance.when(options),
};

export const longCatImagePipeline = definePipeline({
  classNames: ['LongCatImagePipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('LongCatImageTransformer2DModel'),
  },

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbeds'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 50 },
      ...edges(128),
      sigmas: {},
      guidanceScale: { default: 4.5 },
      enableCfgRenorm: { default: true, idle: withoutGuidance },
      cfgRenormMin: { default: 0, idle: unnormalised },
    },
  },

  plan({ parts: { textEncoder, transformer, vae, scheduler }, settings, reading }) {
    const { batch, guidanceScale: scale, enableCfgRenorm, cfgRenormMin } = settings;
    const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
    const tokens = (rows * columns) / 4;
    return {
      tokens: tokens + textTokens,
      embed: async ({ texts: [texts], embeds }) => ({
        encoder_hidden_states: embeds ? embeds['promptEmbeds'] : await encode(textEncoder, texts!, reading),
      }),
      latents: packedLatents([batch, transformer.traits.inChannels / 4, rows, columns]),
      schedule: flowSchedule(settings, { scheduler, tokens }),
      inputsAt: (latents, timestep, { encoder_hidden_states }) => ({
        hidden_states: latents,
        timestep: perSample(latents, Math.fround(timestep) / 1000),
        txt_ids: diagonalIds((encoder_hidden_states as Tensor).dim(1)),
        img_ids: imageIds(rows / 2, columns / 2, [1, textTokens, textTokens]),
      }),
      combine: ([cond, uncond]) => {
        if (!uncond) return cond!;
        return enableCfgRenorm
          ? guideKeepingNorm(cond!, uncond, scale, [cfgRenormMin, 1])
          : guide(cond!, uncond, scale);
      },
    };
  },
});

/** [prompts, textTokens, width]. */
async function encode(
  encoder: TextEncoder,
  texts: readonly string[],
  { warnings, signal }: { warnings: WarningLog; signal: AbortSignal | undefined },
): Promise<Tensor> {
  const { tokenizer } = encoder;
  const ids = texts.map((text) => {
    const all = spelledText(text, tokenizer);
    const rest = tokenizer.decode(all.slice(textTokens));
    if (rest) warnings.add(cutText(textTokens, rest));
    return all.slice(0, textTokens);
  });
  const before = tokenizer.tokenize([opening], { addSpecialTokens: false }).inputIds[0]!;
  const { inputIds, attentionMask } = tokenizer.pad(ids, { padding: 'max_length', maxLength: textTokens });
  const { hidden } = await encoder.run(
    {
      inputIds: inputIds.map((row) => [...before, ...row]),
      attentionMask: attentionMask.map((row) => [...before.map(() => 1), ...row]),
    },
    { masked: true, signal },
  );
  return cut(hidden, { axis: 1, from: before.length, to: hidden.dim(1) });
}
