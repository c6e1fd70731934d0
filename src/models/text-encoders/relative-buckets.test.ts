import { expect, it } from 'vitest';
import { relativeBuckets } from './relative-buckets.ts';

/** The first distance in each bucket, recorded from PyTorch. */
const cases = [
  { buckets: 32, maxDistance: 128, starts: [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91] },
  { buckets: 8, maxDistance: 16, starts: [0, 1, 2, 6] },
  { buckets: 20, maxDistance: 100, starts: [0, 1, 2, 3, 4, 5, 10, 17, 31, 55] },
];

it.each(cases)('$buckets buckets up to distance $maxDistance', ({ starts, ...options }) => {
  const tokens = 300;
  const { data } = relativeBuckets(tokens, options);
  for (let distance = 0; distance < tokens; distance++) {
    const bucket = starts.filter((start) => start <= distance).length - 1;
    // First a key that far before its query, then one that far behind.
    expect(Number(data[distance * tokens])).toBe(bucket);
    expect(Number(data[distance])).toBe(distance === 0 ? 0 : bucket + options.buckets / 2);
  }
});
