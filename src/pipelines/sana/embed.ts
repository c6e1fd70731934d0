/** What Sana's language model makes of a prompt: read behind an instruction, which is then left out. */
import { cut, join } from '../../tensor/slices.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Condition } from '../request/conditions.ts';
import { type EncodeTextOptions, embedMasked, padTexts, type TextEncoder } from '../request/text-encoder.ts';
import { cleanCaption, lowerCased } from '../texts/clean-caption.ts';

/** The lines before the prompt that the model was trained with, unless a request brings others. */
export const complexHumanInstruction = [
  "Given a user prompt, generate an 'Enhanced prompt' that provides detailed visual descriptions suitable for image generation. Evaluate the level of detail in the user prompt:",
  '- If the prompt is simple, focus on adding specifics about colors, shapes, sizes, textures, and spatial relationships to create vivid and concrete scenes.',
  '- If the prompt is already detailed, refine and enhance the existing details slightly without overcomplicating.',
  'Here are examples of how to transform or refine prompts:',
  '- User Prompt: A cat sleeping -> Enhanced: A small, fluffy white cat curled up in a round shape, sleeping peacefully on a warm sunny windowsill, surrounded by pots of blooming red flowers.',
  '- User Prompt: A busy city street -> Enhanced: A bustling city street scene at dusk, featuring glowing street lamps, a diverse crowd of people in colorful clothing, and a double-decker bus passing by towering glass skyscrapers.',
  'Please generate only the enhanced description for the prompt below and avoid including any additional commentary or evaluations:',
  'User Prompt: ',
];

/**
 * @param instruction lines before the prompt; none: the prompt alone
 * @param clean whether the prompt is cleaned as scraped captions are
 */
export async function embedSana(
  textEncoder: TextEncoder,
  condition: Condition,
  { instruction, clean, ...options }: EncodeTextOptions & { instruction: readonly string[]; clean: boolean },
): Promise<{ encoder_hidden_states: Tensor; encoder_attention_mask: Tensor }> {
  const prepare = clean ? cleanCaption : lowerCased;
  const before = instruction.join('\n');
  if (before === '' || condition.embeds) {
    const { encoder_hidden_states, encoder_attention_mask } = await embedMasked(textEncoder, condition, {
      prepare,
      ...options,
    });
    return { encoder_hidden_states, encoder_attention_mask };
  }
  const instructionTokens = textEncoder.tokenizer.tokenize([before]).inputIds[0]!.length;
  const each = await textEncoder.encodeEach(
    condition.texts[0]!.map((text) => before + prepare(text)),
    { ...options, maxLength: instructionTokens + options.maxLength - 2 },
  );
  // The first token, and as many from the end of the padded text as make the length that is asked for.
  const kept = each.map((hidden) => {
    const tail = cut(hidden, { axis: 0, from: Math.min(instructionTokens - 1, hidden.dim(0)), to: hidden.dim(0) });
    return join([cut(hidden, { axis: 0, from: 0, to: 1 }), tail], 0);
  });
  const { embeds, mask } = padTexts(kept);
  return { encoder_hidden_states: embeds, encoder_attention_mask: mask };
}
