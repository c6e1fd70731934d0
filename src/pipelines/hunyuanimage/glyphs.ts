/** Words to be written into a picture: what a prompt has in quotes, read letter by letter by ByT5. */
import type { ForwardInputs } from '../../models/inputs.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { type EncodeTextOptions, padTexts, type TextEncoder } from '../request/text-encoder.ts';

const quotes = [/'(.*?)'/g, /"(.*?)"/g, /‘(.*?)’/g, /“(.*?)”/g];

/** The words in a prompt's quotes as the model was trained to be told them; undefined if there are none. */
export function glyphText(prompt: string): string | undefined {
  const words = quotes.flatMap((quote) => Array.from(prompt.matchAll(quote), ([, text]) => `Text "${text}". `));
  return words.length === 0 ? undefined : words.join('');
}

/**
 * A row of embeddings per prompt, all of it padding where a prompt has no words; undefined if none has.
 * @param texts as ByT5 is told them
 */
export async function embedGlyphs(
  encoder: TextEncoder,
  texts: readonly (string | undefined)[],
  options: Pick<EncodeTextOptions, 'maxLength' | 'signal'>,
): Promise<ForwardInputs | undefined> {
  if (texts.every((text) => text === undefined)) return undefined;
  const each = await encoder.encodeEach(
    texts.map((text) => text ?? ''),
    options,
  );
  const { embeds, mask } = padTexts(each);
  const kept = mask.f32.map((value, i) => (texts[Math.floor(i / mask.dim(1))] === undefined ? 0 : value));
  return { encoder_hidden_states_2: embeds, encoder_attention_mask_2: floatTensor(kept, mask.shape) };
}
