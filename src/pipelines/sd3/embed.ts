/** What Stable Diffusion 3's encoders make of a text. */
import type { ForwardInputs } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { join } from '../../tensor/slices.ts';
import { floatTensor, sizeOf } from '../../tensor/tensor.ts';
import type { Condition } from '../request/conditions.ts';
import { padEnd } from '../request/tensors.ts';
import type { EncodeTextOptions, TextEncoder } from '../request/text-encoder.ts';

export interface SD3Readers {
  textEncoder: TextEncoder;
  textEncoder2: TextEncoder;
  textEncoder3: TextEncoder | undefined;
  transformer: TransformerModel;
}

/** Tokens of [both CLIPs side by side, T5], and both pooled embeddings side by side. Without T5, zeros are in its place. */
export async function embedSD3(
  { textEncoder: clipL, textEncoder2: clipG, textEncoder3: t5, transformer }: SD3Readers,
  { texts, embeds }: Condition,
  { clipSkip, ...options }: EncodeTextOptions & { clipSkip: number },
): Promise<ForwardInputs> {
  if (embeds) return { encoder_hidden_states: embeds.promptEmbeds, pooled_projections: embeds.pooledPromptEmbeds };
  const [forClipL, forClipG, forT5] = texts as [string[], string[], string[]];
  const clip = {
    maxLength: clipL.tokenizer.modelMaxLength,
    hiddenState: -2 - clipSkip,
    // T5 reads what CLIP has to cut.
    warnings: t5 ? undefined : options.warnings,
    signal: options.signal,
    weighting: options.weighting,
  };
  const [l, g] = [await clipL.encodePadded(forClipL, clip), await clipG.encodePadded(forClipG, clip)];
  const width = transformer.traits.textWidth!;
  const t5Shape = [forT5.length, options.maxLength, width];
  const t5Hidden = t5
    ? (await t5.encodePadded(forT5, options)).hidden
    : floatTensor(new Float32Array(sizeOf(t5Shape)), t5Shape);
  return {
    encoder_hidden_states: join([padEnd(join([l.hidden, g.hidden], 2), { axis: 2, length: width }), t5Hidden], 1),
    pooled_projections: join([l.pooled!, g.pooled!], 1),
  };
}
