/** How HunyuanVideo 1.5 reads prompts: an instruction around all of it, and words in quotes once more by themselves. */
import type { ForwardInputs } from '../../models/inputs.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import { embedGlyphs } from '../hunyuanimage/glyphs.ts';
import type { Condition } from '../request/conditions.ts';
import { type EncodeTextOptions, embedMasked, type TextEncoder } from '../request/text-encoder.ts';

/** With the spaces that it was trained with. */
const instruction = [
  'You are a helpful assistant. Describe the video by detailing the following aspects:',
  '1. The main content and theme of the video.',
  '2. The color, shape, size, texture, quantity, text, and spatial relationships of the objects.',
  '3. Actions, events, behaviors temporal relationships, physical movement changes of the objects.',
  '4. background environment, light, style and atmosphere.',
  '5. camera angles, movements, and transitions used in the video.',
].join(' '.repeat(9));

/** Tokens of it before the prompt, which are read, but not passed on; and those of a prompt. */
const [templateTokens, maxLength] = [108, 1000];
const glyphTokens = 256;

/** Every quoted text once, as ByT5 was trained to be told them; undefined if there is none. */
export function quotedText(prompt: string): string | undefined {
  const words = Array.from(prompt.matchAll(/"(.*?)"|“(.*?)”/g), ([, plain, curly]) => plain || (curly ?? ''));
  return words.length === 0 ? undefined : `${[...new Set(words)].map((text) => `Text "${text}"`).join('. ')}. `;
}

export async function embedPrompts(
  encoder: TextEncoder,
  { texts: [texts], ...condition }: Condition,
  reading: Pick<EncodeTextOptions, 'signal' | 'warnings'>,
): Promise<ForwardInputs> {
  const conversations = (texts ?? []).map((text) =>
    encoder.tokenizer.applyChatTemplate(
      [
        { role: 'system', content: instruction },
        { role: 'user', content: text || ' ' },
      ],
      { addGenerationPrompt: true },
    ),
  );
  const told = { ...condition, texts: [await Promise.all(conversations)] };
  const options = { maxLength, templateTokens, hiddenState: -3, addSpecialTokens: false };
  return embedMasked(encoder, told, { ...options, ...reading });
}

/** @param width of the embeddings that stand for no words */
export async function embedQuotes(
  encoder: TextEncoder,
  { count, texts: [texts = []], besides }: Condition,
  { width, signal }: { width: number; signal: AbortSignal | undefined },
): Promise<ForwardInputs> {
  const { promptEmbeds2: embeds, promptEmbedsMask2: mask } = besides;
  if (embeds)
    return {
      encoder_hidden_states_2: embeds,
      encoder_attention_mask_2:
        mask ?? floatTensor(new Float32Array(count * embeds.dim(1)).fill(1), [count, embeds.dim(1)]),
    };
  const glyphs = await embedGlyphs(encoder, texts.map(quotedText), { maxLength: glyphTokens, signal });
  return (
    glyphs ?? {
      encoder_hidden_states_2: floatTensor(new Float32Array(count * width), [count, 1, width]),
      encoder_attention_mask_2: floatTensor(new Float32Array(count), [count, 1]),
    }
  );
}
