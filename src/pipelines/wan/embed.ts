/** What Wan's text encoder makes of a prompt. */
import type { ForwardInputs } from '../../models/inputs.ts';
import type { Condition } from '../request/conditions.ts';
import { type EncodeTextOptions, padTexts, type TextEncoder } from '../request/text-encoder.ts';
import { cleanPrompt } from './clean-prompt.ts';

/** T5's hidden states of the text, zeros behind it: the model was trained to see these zeros. */
export async function embedWan(
  textEncoder: TextEncoder,
  { texts: [texts], embeds }: Condition,
  options: EncodeTextOptions,
): Promise<ForwardInputs> {
  if (embeds) return { encoder_hidden_states: embeds.promptEmbeds };
  const each = await textEncoder.encodeEach(texts!.map(cleanPrompt), options);
  return { encoder_hidden_states: padTexts(each, options.maxLength).embeds };
}
