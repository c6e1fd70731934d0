/**
 * Padding in text conditions. What every sample pads is cut off on the host, which changes nothing for the kept tokens and saves
 * their attention; what only some samples pad becomes an additive bias.
 */
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { dims, floatTensor, intTensor, type Tensor } from '../../tensor/tensor.ts';

/** What Diffusers adds to the score of a masked key. In float32 its weight after the softmax is exactly 0. */
export const MASKED = -10000;

export interface TrimmedText {
  /** `[B, T', C]`, up to the last token that some sample keeps. */
  text: Tensor;
  /** [B, T'], 0 for kept tokens; absent if all samples keep all of them. */
  bias?: Tensor;
}

/**
 * Cuts common padding from text [B, T, C] and turns the rest of the mask into a bias.
 * @param mask [B, T], 1 keeps a token and 0 drops it; values between weaken it as in Diffusers
 */
export function trimText(text: Tensor, mask: Tensor | undefined): TrimmedText {
  if (!mask) return { text };
  const [batch, length] = dims(mask, 2);
  const keep = mask.float().f32;
  let kept = 0;
  for (let sample = 0; sample < batch; sample++) {
    const last = keep.subarray(sample * length, (sample + 1) * length).findLastIndex((value) => value !== 0);
    // A sample without any text attends to all of its padding alike, which must stay then.
    kept = Math.max(kept, last === -1 ? length : last + 1);
  }
  const trimmed = keepTokens(text, kept);
  const keptMask = keepTokens(mask.float(), kept);
  const bias = Float32Array.from(keptMask.f32, (value) => (value - 1) * -MASKED);
  if (bias.every((value) => value === 0)) return { text: trimmed };
  return { text: trimmed, bias: floatTensor(bias, keptMask.shape) };
}

/** The first `count` tokens of x [B, T, …]. */
export function keepTokens(x: Tensor, count: number): Tensor {
  const [batch, length, rest] = [x.dim(0), x.dim(1), x.shape.slice(2)];
  if (count === length) return x;
  const width = rest.reduce((product, dim) => product * dim, 1);
  const source = x.float().f32;
  const out = new Float32Array(batch * count * width);
  for (let sample = 0; sample < batch; sample++) {
    const start = sample * length * width;
    out.set(source.subarray(start, start + count * width), sample * count * width);
  }
  return floatTensor(out, [batch, count, ...rest]);
}

/** A bias per key [B, T], or per query and key, for `queries` tokens in the shape attention takes: [B, 1, queries, T]. */
export function keyBias(bias: SymbolicTensor, queries: number): SymbolicTensor {
  if (bias.rank === 3) return bias.unsqueeze(1);
  const [batch, keys] = dims(bias, 2);
  return bias.reshape([batch, 1, 1, keys]).expand([batch, 1, queries, keys]);
}

/** Which keys queries see. All parts are absent if all samples see all keys. */
export interface KeyMask<T> {
  /** `[K]`, the keys that some sample sees, in order. */
  keys?: T | undefined;
  /** [B, K] over those keys, where the samples differ; [B, S, K] where the queries do too. */
  bias?: T | undefined;
  /** `[B, S, 1]`, 0 for queries that see no key at all, which makes their attention 0, as in PyTorch. */
  queries?: T | undefined;
}

/**
 * Turns rows of booleans into what attention needs to skip masked keys. Unlike `trimText` it leaves the tokens where they are:
 * for joint attention, where masked tokens are still queries.
 */
export function keyMask(visible: readonly (readonly boolean[])[]): KeyMask<Tensor> {
  const keys = visible[0]!.flatMap((_, key) => (visible.some((row) => row[key]) ? [key] : []));
  const bias = visible.flatMap((row) => keys.map((key) => (row[key] ? 0 : MASKED)));
  return {
    ...(keys.length === visible[0]!.length ? {} : { keys: intTensor(keys) }),
    ...(bias.every((value) => value === 0) ? {} : { bias: floatTensor(bias, [visible.length, keys.length]) }),
  };
}

/** For self-attention in which masked tokens neither are seen nor see. */
export function tokenMask(visible: readonly (readonly boolean[])[]): KeyMask<Tensor> {
  const queries = visible.flatMap((row) => row.map(Number));
  if (!queries.includes(0)) return {};
  return { ...keyMask(visible), queries: floatTensor(queries, [visible.length, visible[0]!.length, 1]) };
}

/** The rows of a mask [B, T] as booleans. */
export function maskRows(mask: Tensor): boolean[][] {
  const { data } = mask;
  const [batch, length] = dims(mask, 2);
  return Array.from({ length: batch }, (_, sample) =>
    Array.from({ length }, (_, token) => Number(data[sample * length + token]) !== 0),
  );
}
