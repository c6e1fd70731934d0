/** What all text encoders do with token ids and masks on the host, before a graph sees them. */
import { DejaDitError } from '../../errors/errors.ts';
import { floatTensor, rows, type Tensor } from '../../tensor/tensor.ts';

/**
 * Refuses ids that the vocabulary does not have, which would read outside the embedding table.
 * @throws DejaDitError naming the id and its place
 */
export function checkTokenIds(ids: Tensor, vocabulary: number): void {
  const tokens = ids.dim(1);
  for (const [i, id] of ids.data.entries()) {
    if (id >= 0 && id < vocabulary) continue;
    throw new DejaDitError(
      'INVALID_ARGUMENT',
      `id ${id} at [${Math.floor(i / tokens)}, ${i % tokens}] is outside the vocabulary of ${vocabulary}; ` +
        'is this the tokenizer that belongs to the model?',
      { path: 'input_ids' },
    );
  }
}

/** The least float32. Unlike -Infinity it leaves a row in which everything is masked finite. */
const masked = -3.4028234663852886e38;

/**
 * Which tokens see any, as factors [batch, tokens, 1] on what their attention comes to: padding in front of a causal text sees nothing,
 * and PyTorch's fused attention makes that 0.
 * @returns undefined if all do
 */
export function seeingTokens(mask: Tensor | undefined): Tensor | undefined {
  const padding = mask && rows(mask);
  if (!padding?.some((row) => row[0] === 0)) return undefined;
  const seeing = padding.flatMap((row) => {
    const first = row.indexOf(1);
    return row.map((_, token) => (first >= 0 && token >= first ? 1 : 0));
  });
  return floatTensor(seeing, [padding.length, padding[0]!.length, 1]);
}

export interface AttentionBiasOptions {
  tokens: number;
  /** [batch, tokens], 0 for padding. */
  mask?: Tensor | undefined;
  /** Tokens see only themselves and what comes before. */
  causal: boolean;
  /** Tokens see only this many, themselves included; without `causal` so many on both sides of them. Default: all. */
  window?: number | undefined;
}

/**
 * Which key a query may attend to, as a bias on attention scores [batch or 1, 1, tokens, tokens]: 0 or the least float32.
 * @returns undefined if everything is visible
 */
export function attentionBias({ tokens, mask, causal, window = tokens }: AttentionBiasOptions): Tensor | undefined {
  const padding = mask && rows(mask);
  const padded = padding?.some((row) => row.includes(0)) ?? false;
  if (!padded && !causal && window >= tokens) return undefined;
  const samples = padded ? padding! : [undefined];
  const bias = new Float32Array(samples.length * tokens * tokens);
  let at = 0;
  for (const sample of samples) {
    for (let query = 0; query < tokens; query++) {
      for (let key = 0; key < tokens; key++) {
        const far = causal ? key > query || key <= query - window : Math.abs(key - query) > window;
        const visible = sample?.[key] !== 0 && !far;
        bias[at++] = visible ? 0 : masked;
      }
    }
  }
  return floatTensor(bias, [samples.length, 1, tokens, tokens]);
}
