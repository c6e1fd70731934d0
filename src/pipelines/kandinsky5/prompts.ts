/** How Kandinsky 5 reads prompts: Qwen2.5-VL under an instruction, and CLIP's summary. */
import type { ForwardInputs } from '../../models/inputs.ts';
import { cut } from '../../tensor/slices.ts';
import type { Condition } from '../request/conditions.ts';
import type { EncodeTextOptions, TextEncoder } from '../request/text-encoder.ts';
import { cleanPrompt } from '../wan/clean-prompt.ts';

/** What Qwen is told, with `{}` for the prompt. */
export interface Instruction {
  template: string;
  /** Tokens of it before the prompt, which are read, but not passed on. */
  tokens: number;
}

const clipTokens = 77;

export interface Reading extends Pick<EncodeTextOptions, 'signal' | 'warnings'> {
  instruction: Instruction;
  /** Tokens that are passed on, the template's last ones included. */
  maxLength: number;
}

export async function embedKandinsky(
  { textEncoder, textEncoder2 }: Record<'textEncoder' | 'textEncoder2', TextEncoder>,
  { texts: [texts], embeds }: Condition,
  reading: Reading,
): Promise<ForwardInputs> {
  if (embeds) return { encoder_hidden_states: embeds.promptEmbedsQwen, pooled_projections: embeds.promptEmbedsClip };
  const prompts = texts!.map(cleanPrompt);
  const { pooled } = await textEncoder2.encodePadded(prompts, { maxLength: clipTokens, signal: reading.signal });
  return { encoder_hidden_states: await readByQwen(textEncoder, prompts, reading), pooled_projections: pooled };
}

/** Padded to the longest, whose padding the transformer reads as if it were text. */
async function readByQwen(encoder: TextEncoder, prompts: readonly string[], reading: Reading) {
  const { instruction, maxLength, signal } = reading;
  const most = instruction.tokens + maxLength;
  const told = fitted(
    encoder,
    prompts.map((prompt) => instruction.template.replace('{}', () => prompt)),
    reading,
  );
  const ids = encoder.tokenizer.tokenize(told, { truncation: true, maxLength: most }).inputIds;
  const length = Math.max(...ids.map((row) => row.length));
  const { hidden } = await encoder.encodePadded(told, { maxLength: length, signal });
  return cut(hidden, { axis: 1, from: Math.min(instruction.tokens, length - 1), to: length });
}

/** Texts of which as many characters are cut off as prompts are too long; they may cost the template's end, as in training. */
function fitted(encoder: TextEncoder, texts: string[], { instruction, maxLength, warnings }: Reading): string[] {
  const { tokenizer } = encoder;
  const rows = texts.map((text) => tokenizer.encode(text));
  const longest = Math.max(...rows.map((row) => row.length));
  if (longest <= instruction.tokens + maxLength) return texts;
  return texts.map((text, i) => {
    const padding = Array<number>(longest - rows[i]!.length).fill(tokenizer.padTokenId ?? 0);
    const removed = tokenizer.decode([...rows[i]!, ...padding].slice(instruction.tokens, -2).slice(maxLength - 2));
    if (removed === '') return text;
    warnings?.add(`only ${maxLength} tokens of the prompt are read; this part is ignored: '${removed}'`);
    return Array.from(text).slice(0, -Array.from(removed).length).join('');
  });
}
