/**
 * HunyuanVideo's token refiner: a small transformer over the text alone, since a language model's states look backwards only.
 * Its blocks are gated by the time and by the mean of the text.
 */
import { DejaDitError } from '../../../errors/errors.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention } from '../../../nn/attention/attention.ts';
import { MASKED } from '../../../nn/attention/attention-mask.ts';
import { conditionEmbedding } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { layer } from '../../../nn/module.ts';
import { layerNorm, perToken } from '../../../nn/norms.ts';
import { floatTensor, type Tensor } from '../../../tensor/tensor.ts';
import type { State } from '../../definition.ts';

interface RefinerConfig {
  refinerBlocks: number;
  heads: number;
  width: number;
}

/**
 * Graph inputs made of the text mask: the mean's weights [B, 1, T] and, where text is masked, a bias [B, 1, T, T].
 * @param seesFirst whether all tokens see the first, kept or not
 */
export function refinerTensors(
  kept: readonly (readonly boolean[])[],
  { seesFirst = true }: { seesFirst?: boolean } = {},
): Record<string, Tensor> {
  const tokens = kept[0]!.length;
  const weights = kept.flatMap((row, sample) => {
    const count = row.filter(Boolean).length;
    if (count === 0) {
      throw new DejaDitError('INVALID_ARGUMENT', `sample ${sample} keeps no token, expected at least one`, {
        path: 'encoder_attention_mask',
      });
    }
    return row.map((keep) => (keep ? 1 / count : 0));
  });
  // Kept tokens see each other. Everyone sees the first token, so that padding has something to attend to; where the padding's own
  // states are dropped, it may as well see the kept ones.
  const sees = (query: boolean, key: boolean, at: number) => (seesFirst ? (query && key) || at === 0 : key);
  const bias = kept.flatMap((row) => row.flatMap((query) => row.map((key, at) => (sees(query, key, at) ? 0 : MASKED))));
  return {
    text_weights: floatTensor(weights, [kept.length, 1, tokens]),
    ...(bias.every((value) => value === 0) ? {} : { text_bias: floatTensor(bias, [kept.length, 1, tokens, tokens]) }),
  };
}

/** Text [B, T, C] → [B, T, D]. */
export const refinedText = layer((m, inputs: State, { refinerBlocks, heads, width }: RefinerConfig): SymbolicTensor => {
  const { encoder_hidden_states: text, timestep, text_weights, text_bias } = inputs;
  const pooled = text_weights!.matmul(text!).squeeze(1);
  const temb = conditionEmbedding(m.at('time_text_embed'), { timestep: timestep!, pooled }, { width });
  let x = linear(m.at('proj_in'), text!, width);
  for (let i = 0; i < refinerBlocks; i++) {
    x = refinerBlock(m.at(`token_refiner.refiner_blocks.${i}`), x, { temb, heads, bias: text_bias });
  }
  return x;
});

interface RefinerBlock {
  temb: SymbolicTensor;
  heads: number;
  bias: SymbolicTensor | undefined;
}

const refinerBlock = layer((m, x: SymbolicTensor, { temb, heads, bias }: RefinerBlock): SymbolicTensor => {
  const width = x.dim(-1);
  const [attentionGate, mlpGate] = linear(m.at('norm_out.linear'), temb.silu(), 2 * width).chunk(2);
  const attended = attention(m.at('attn'), layerNorm(m.at('norm1'), x, 1e-6), { heads, bias });
  const informed = x.add(attended.mul(perToken(attentionGate)));
  const mlp = feedForward(m.at('ff'), layerNorm(m.at('norm2'), informed, 1e-6), {
    activation: 'linear-silu',
    inner: 4 * width,
  });
  return informed.add(mlp.mul(perToken(mlpGate)));
});
