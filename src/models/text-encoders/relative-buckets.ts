/** T5's buckets of token distances: exact for near tokens, logarithmic for far ones, each direction having its own half. */
import { intTensor, type Tensor } from '../../tensor/tensor.ts';

export interface RelativeBuckets {
  /** Number of buckets for both directions. */
  buckets: number;
  /** All distances from here on share the last bucket of their direction. */
  maxDistance: number;
}

/** The bucket of (key − query) for every pair of tokens [tokens, tokens], rows being queries. */
export function relativeBuckets(tokens: number, { buckets, maxDistance }: RelativeBuckets): Tensor {
  const half = Math.floor(buckets / 2);
  const exact = Math.floor(half / 2);
  const { fround } = Math;
  // Rounded to float32 after every operation, as PyTorch computes it: powers of two fall on the edge of a bucket.
  const logRange = fround(Math.log(maxDistance / exact));
  const bucketOf = Array.from({ length: tokens }, (_, distance) => {
    if (distance < exact) return distance;
    const fraction = fround(fround(Math.log(fround(distance / exact))) / logRange);
    return Math.min(exact + Math.trunc(fround(fraction * (half - exact))), half - 1);
  });
  const ids = new Array<number>(tokens * tokens);
  for (let query = 0; query < tokens; query++) {
    for (let key = 0; key < tokens; key++) {
      ids[query * tokens + key] = bucketOf[Math.abs(key - query)]! + (key > query ? half : 0);
    }
  }
  return intTensor(ids, [tokens, tokens]);
}
