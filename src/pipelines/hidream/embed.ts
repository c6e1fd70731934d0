/** What HiDream's four encoders make of a text. */
import type { ForwardInputs } from '../../models/inputs.ts';
import { cut, join } from '../../tensor/slices.ts';
import { dims, type Tensor } from '../../tensor/tensor.ts';
import type { Condition } from '../request/conditions.ts';
import { cutText, type EncodeTextOptions, type TextEncoder } from '../request/text-encoder.ts';

interface HiDreamReaders {
  textEncoder: TextEncoder;
  textEncoder2: TextEncoder;
  textEncoder3: TextEncoder;
  textEncoder4: TextEncoder;
}

/** Tokens that HiDream's CLIP encoders read at most. */
const clipTokens = 218;

/** Both CLIPs' summaries side by side, T5's text, and the text of every layer of Llama: [B, layers, tokens, width]. */
export async function embedHiDream(
  { textEncoder: clipL, textEncoder2: clipG, textEncoder3: t5, textEncoder4: llama }: HiDreamReaders,
  { texts, embeds }: Condition,
  options: EncodeTextOptions,
): Promise<ForwardInputs> {
  if (embeds)
    return {
      pooled_embeds: embeds['pooledPromptEmbeds'],
      encoder_hidden_states_t5: embeds['promptEmbedsT5'],
      encoder_hidden_states_llama3: embeds['promptEmbedsLlama3'],
    };
  const [forClipL, forClipG, forT5, forLlama] = texts as [string[], string[], string[], string[]];
  // T5 and Llama read what CLIP has to cut.
  const clip = { ...options, maxLength: Math.min(options.maxLength, clipTokens), warnings: undefined };
  const [l, g] = [await clipL.encodePadded(forClipL, clip), await clipG.encodePadded(forClipG, clip)];
  const { hidden } = await t5.encodePadded(forT5, { ...options, ...within(t5, options), masked: true });
  return {
    pooled_embeds: join([l.pooled!, g.pooled!], 1),
    encoder_hidden_states_t5: hidden,
    encoder_hidden_states_llama3: await readByLayers(llama, forLlama, { ...options, ...within(llama, options) }),
  };
}

function within({ tokenizer }: TextEncoder, { maxLength }: EncodeTextOptions) {
  return { maxLength: Math.min(maxLength, tokenizer.modelMaxLength) };
}

/** Texts padded with the token that ends one, which is hidden from them: Llama has none for padding. */
async function readByLayers(
  llama: TextEncoder,
  texts: readonly string[],
  { maxLength, warnings, signal }: EncodeTextOptions,
): Promise<Tensor> {
  const { tokenizer, model } = llama;
  const { inputIds, truncated } = tokenizer.tokenize([...texts], { truncation: true, maxLength });
  for (const rest of truncated) if (rest) warnings?.add(cutText(maxLength, rest));
  const fill = (row: readonly number[], value: number) => [
    ...row,
    ...Array<number>(maxLength - row.length).fill(value),
  ];
  const layers = Number(model.config['num_hidden_layers'] ?? 32);
  const { hidden } = await llama.run(
    {
      inputIds: inputIds.map((row) => fill(row, tokenizer.eosTokenId ?? 0)),
      attentionMask: inputIds.map((row) =>
        fill(
          row.map(() => 1),
          0,
        ),
      ),
    },
    { hiddenState: Array.from({ length: layers }, (_, layer) => layer + 1), masked: true, signal },
  );
  const [count, tokens, all] = dims(hidden, 3);
  const width = all / layers;
  const each = Array.from({ length: layers }, (_, layer) =>
    cut(hidden, { axis: 2, from: layer * width, to: (layer + 1) * width }).reshape([count, 1, tokens, width]),
  );
  return join(each, 1);
}
