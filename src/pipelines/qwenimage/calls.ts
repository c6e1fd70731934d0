/** What Qwen-Image and its editing models have in common: what calls get of a prompt and of pictures, and how they are guided. */
import type { ForwardInputs } from '../../models/inputs.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import type { Condition } from '../request/conditions.ts';
import { guideKeepingNorm } from '../request/guidance.ts';
import { perSample } from '../request/latents.ts';
import type { Plan } from '../request/plan.ts';
import { type EncodeTextOptions, padTexts, type TextEncoder } from '../request/text-encoder.ts';
import { noGuidanceEmbedding } from '../schema/sizes.ts';

/** Of pipelines whose text encoder sees no pictures. */
export const qwenComponents = {
  scheduler: scheduler(),
  textEncoder: textEncoder(),
  vae: autoencoder(),
  transformer: transformer('QwenImageTransformer2DModel'),
};

export const qwenConditions = {
  texts: ['prompt'],
  embeds: ['promptEmbeds'],
  masks: ['promptEmbedsMask'],
} as const;

export const qwenGuidance = { option: 'trueCfgScale', needsNegative: true } as const;

export const qwenOptions = {
  numInferenceSteps: { default: 50 },
  sigmas: {},
  trueCfgScale: { default: 4 },
  guidanceScale: { unused: noGuidanceEmbedding },
};

/** @param encode texts, each alone: [tokens, width] */
export async function embedQwen(
  { texts: [texts], embeds }: Condition,
  encode: (texts: readonly string[]) => Promise<Tensor[]>,
): Promise<ForwardInputs> {
  if (embeds)
    return { encoder_hidden_states: embeds.promptEmbeds, encoder_hidden_states_mask: embeds.promptEmbedsMask };
  const { embeds: hidden, mask } = padTexts(await encode(texts!));
  return { encoder_hidden_states: hidden, encoder_hidden_states_mask: mask };
}

/** The conversation that the model was trained with; the tokens before the prompt are read, but not passed on. */
const instruction =
  'Describe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the objects and background:';
const conversation = (prompt: string) =>
  `<|im_start|>system\n${instruction}<|im_end|>\n<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n`;
const templateTokens = 34;

/** Of pipelines that draw from a text. */
export function embedPrompt(
  textEncoder: TextEncoder,
  condition: Condition,
  options: EncodeTextOptions,
): Promise<ForwardInputs> {
  return embedQwen(condition, (texts) =>
    textEncoder.encodeEach(texts.map(conversation), { templateTokens, ...options }),
  );
}

/** @param shapes rows and columns, in tokens, of the picture that is drawn and of those beside it */
export function qwenCalls(
  shapes: readonly (readonly [number, number])[],
  scale: number,
): Pick<Plan, 'inputsAt' | 'combine'> {
  return {
    inputsAt: (latents, timestep) => ({
      hidden_states: latents,
      timestep: perSample(latents, Math.fround(timestep) / 1000),
      img_shapes: [shapes.map(([rows, columns]) => [1, rows, columns])],
    }),
    combine: ([cond, uncond]) => (uncond ? guideKeepingNorm(cond!, uncond, scale) : cond!),
  };
}
