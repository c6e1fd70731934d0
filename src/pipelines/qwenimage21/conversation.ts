/** The conversation that Qwen-Image 2.1 was trained with: what the language model is told, and what it says nothing of. */
import type { TextEncoder } from '../request/text-encoder.ts';

/** The language model reads it, but does not pass it on. */
const instruction = 'Comprehend and analyze the provided prompt.';

export const conversation = (prompt: string) =>
  `<|im_start|>system\n${instruction}<|im_end|>\n<|im_start|>user\n${prompt}<|im_end|>\n<|im_start|>assistant\n`;

/** Tokens of the instruction, as the processor's own template has it. */
export async function instructionTokens({ tokenizer }: TextEncoder): Promise<number> {
  const content = [{ type: 'text', text: instruction }];
  const told = await tokenizer.applyChatTemplate([{ role: 'system', content }]);
  return tokenizer.tokenize([told], { addSpecialTokens: false }).inputIds[0]!.length;
}
