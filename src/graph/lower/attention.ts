/**
 * Attention without a fused kernel. The scores of all queries are heads · S · T numbers, 1.6 GB for 4096 tokens in 24 heads, so queries
 * are worked on in parts.
 */
import { bytesPerElement } from '../../tensor/dtype.ts';
import { dims } from '../../tensor/tensor.ts';
import { concat } from '../ops.ts';
import { floatAttribute, type Rewriting } from '../rewrite.ts';
import type { SymbolicTensor } from '../symbolic.ts';

/** `maxBinding` bounds the scores that are computed at a time. */
export function explicitAttention(
  { node, inputs }: Rewriting,
  { maxBinding }: { readonly maxBinding: number },
): SymbolicTensor[] {
  const [query, key, value] = inputs as [SymbolicTensor, SymbolicTensor, SymbolicTensor];
  const bias = inputs[5];
  const heads = node.attributes['num_heads'] as number;
  const [batch, queries, width] = dims(query, 3);
  const keys = key.dim(1);
  const scale = floatAttribute(node, 'scale') ?? 1 / Math.sqrt(width / heads);
  const perHead = (x: SymbolicTensor) => x.reshape([batch, x.dim(1), heads, -1]);
  // Scaled first: there are fewer queries than scores.
  const q = perHead(query).mul(scale).transpose([0, 2, 1, 3]);
  const k = perHead(key).transpose([0, 2, 3, 1]);
  const v = perHead(value).transpose([0, 2, 1, 3]);
  const bytesPerQuery = batch * heads * keys * bytesPerElement('float32');
  const count = Math.min(queries, Math.max(1, Math.floor(maxBinding / bytesPerQuery)));
  const parts: SymbolicTensor[] = [];
  for (let from = 0; from < queries; from += count) {
    const to = Math.min(queries, from + count);
    // Of float16 too exponentials are added up in float32, and a mask of all keys leaves the differences between scores.
    let scores = q.slice(2, from, to).matmul(k).cast('float32');
    if (bias) scores = scores.add((bias.dim(2) === queries ? bias.slice(2, from, to) : bias).cast('float32'));
    parts.push(scores.softmax().cast(query.dtype).matmul(v));
  }
  return [
    concat(parts, 2)
      .transpose([0, 2, 1, 3])
      .reshape([batch, queries, value.dim(-1)]),
  ];
}
