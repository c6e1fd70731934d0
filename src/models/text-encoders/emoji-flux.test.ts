/** The bundled model's two encoders, from text to embeddings, against what Diffusers computed for its reference runs. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { intTensor } from '../../tensor/tensor.ts';
import { loadTokenizer } from '../../tokenizers/tokenizer.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { relativeError } from '../testing/golden.ts';
import { loadEncoder } from './testing/parity.ts';

const folder = path.resolve(import.meta.dirname, '../../../models/emoji-flux');

interface ReferenceRun {
  tag: string;
  prompt: string;
  max_sequence_length: number;
}

it.each(['float32', 'stored'] as const)('prompt embeddings equal Diffusers, weights as %s', async (weightDtype) => {
  const reference = await readSafetensors(path.join(folder, 'reference/reference.safetensors'));
  const runs = JSON.parse(await readFile(path.join(folder, 'reference/reference.json'), 'utf8')) as ReferenceRun[];
  const [clipTokenizer, t5Tokenizer] = await Promise.all(
    ['tokenizer', 'tokenizer_2'].map((name) => loadTokenizer(path.join(folder, name))),
  );
  const [clip, t5] = await Promise.all(
    ['text_encoder', 'text_encoder_2'].map((name) => loadEncoder(path.join(folder, name), { weightDtype })),
  );
  for (const { tag, prompt, max_sequence_length: maxLength } of runs) {
    const ids = (tokenizer: typeof clipTokenizer, length?: number) => {
      const { inputIds } = tokenizer!.tokenize(prompt, { padding: 'max_length', truncation: true, maxLength: length });
      return intTensor(inputIds.flat(), [1, inputIds[0]!.length]);
    };
    const { pooler_output } = await clip!.forward({ input_ids: ids(clipTokenizer) });
    const { last_hidden_state } = await t5!.forward({ input_ids: ids(t5Tokenizer, maxLength) });
    expect(relativeError(pooler_output!, reference[`${tag}.pooled`]!), tag).toBeLessThan(1e-4);
    expect(relativeError(last_hidden_state!, reference[`${tag}.prompt_embeds`]!), tag).toBeLessThan(1e-4);
  }
  await Promise.all([clip!.dispose(), t5!.dispose()]);
});
