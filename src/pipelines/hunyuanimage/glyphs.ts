/** Words to be written into a picture: what a prompt has in quotes, read letter by letter by ByT5. */
import type { ForwardInputs } from '../../models/inputs.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { padTexts, type TextEncoder } from '../request/text-encoder.ts';

/** Tokens of what ByT5 reads. */
const glyphTokens = 128;

const quotes = [/'(.*?)'/g, /"(.*?)"/g, /‘(.*?)’/g, /“(.*?)”/g];

/** The words in a prompt's quotes as the model was trained to be told them; undefined if there are none. */
export function glyphText(prompt: string): string | undefined {
  const words = quotes.flatMap((quote) => Array.from(prompt.matchAll(quote), ([, text]) => `Text "${text}". `));
  return words.length === 0 ? undefined : words.join('');
}

/** A row of embeddings per prompt, all of it padding where a prompt has no words; undefined if none has. */
export async function embedGlyphs(
  encoder: TextEncoder,
  prompts: readonly string[],
  signal: AbortSignal | undefined,
): Promise<ForwardInputs | undefined> {
  const texts = prompts.map(glyphText);
  if (texts.every((text) => text === undefined)) return undefined;
  const options = { maxLength: glyphTokens, signal };
  const each = await encoder.encodeEach(
    texts.map((text) => text ?? ''),
    options,
  );
  const { embeds, mask } = padTexts(each, glyphTokens);
  const kept = mask.f32.map((value, i) => (texts[Math.floor(i / glyphTokens)] === undefined ? 0 : value));
  return { encoder_hidden_states_2: embeds, encoder_attention_mask_2: floatTensor(kept, mask.shape) };
}
