/** Of what FLUX.1 and its relatives consist, and what their calls get: the text as two encoders read it, positions, and the scale of distilled guidance. */
import type { ForwardInputs } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { join } from '../../tensor/slices.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import type { Condition } from '../request/conditions.ts';
import { perSample } from '../request/latents.ts';
import type { Plan } from '../request/plan.ts';
import type { EncodeTextOptions, TextEncoder } from '../request/text-encoder.ts';
import { imageIds, textIds } from './positions.ts';

export const fluxComponents = {
  scheduler: scheduler(),
  textEncoder: textEncoder(),
  textEncoder2: textEncoder(),
  vae: autoencoder(),
  transformer: transformer('FluxTransformer2DModel'),
};

/**
 * CLIP's pooled embedding, and T5's hidden states with their padding: FLUX was trained without a text mask. What CLIP has to
 * cut T5 still reads, so only T5's cuts are worth a warning.
 */
export async function embedFlux(
  { textEncoder: clip, textEncoder2: t5 }: { textEncoder: TextEncoder; textEncoder2: TextEncoder },
  { texts: [forClip, forT5], embeds }: Condition,
  options: EncodeTextOptions,
): Promise<ForwardInputs> {
  if (embeds) return { encoder_hidden_states: embeds.promptEmbeds, pooled_projections: embeds.pooledPromptEmbeds };
  const { signal, weighting } = options;
  const clipOptions = { maxLength: clip.tokenizer.modelMaxLength, signal, weighting };
  const { pooled } = await clip.encodePadded(forClip!, clipOptions);
  const { hidden } = await t5.encodePadded(forT5!, options);
  return { encoder_hidden_states: hidden, pooled_projections: pooled };
}

export interface FluxCall {
  /** Tokens of the picture along both edges. */
  rows: number;
  columns: number;
  guidanceScale: number;
  /** Positions [tokens, 3] of pictures whose tokens follow. */
  referenceIds?: Tensor;
}

/** What a model call gets besides its branch's embeddings. */
export function fluxInputs(
  { traits }: TransformerModel,
  { rows, columns, guidanceScale, referenceIds }: FluxCall,
): Plan['inputsAt'] {
  const own = imageIds(rows, columns);
  const img_ids = referenceIds ? join([own, referenceIds], 0) : own;
  return (latents, timestep, { encoder_hidden_states }) => ({
    hidden_states: latents,
    timestep: perSample(latents, Math.fround(timestep) / 1000),
    img_ids,
    txt_ids: textIds((encoder_hidden_states as Tensor).dim(1)),
    ...(traits.guidanceEmbedding ? { guidance: perSample(latents, guidanceScale) } : {}),
  });
}
