/**
 * `layerwiseOffload`: what may be set, under cache-dit's names. Targets are the blocks of a transformer's block lists; whatever lies
 * outside of them (embeddings, output layers) stays in memory.
 */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { readOptions } from '../../errors/options.ts';
import { parseBytes } from '../byte-size.ts';

/** Options as a user writes them, in camelCase or in Python's spelling. */
export interface OffloadOptions {
  /** Consecutive blocks that are read, held and dropped together: one bucket. Default 1. */
  transferBuckets?: number | undefined;
  /** Buckets read ahead while one is computed with; 0 reads each when its turn comes. Default 1, or as many as `maxInflightPrefetchBytes` allows. */
  prefetchLimit?: number | undefined;
  /** Memory for buckets read ahead: bytes, or a text such as `512MiB` or `4GiB`. Default: what `prefetchLimit` needs. */
  maxInflightPrefetchBytes?: number | string | undefined;
  /** Buckets that stay in memory. Default 0. */
  persistentBuckets?: number | undefined;
  /** Equal parts of the model over which these are spread, so that reads have time to go on in between. Default 1. */
  persistentBins?: number | undefined;
  readonly [pythonSpelling: string]: unknown;
}

export interface OffloadConfig {
  transferBuckets: number;
  prefetchLimit: number | undefined;
  maxInflightPrefetchBytes: number | undefined;
  persistentBuckets: number;
  persistentBins: number;
}

const fields = {
  transferBuckets: z.int().min(1).default(1),
  prefetchLimit: z.int().min(0).optional(),
  maxInflightPrefetchBytes: z
    .union([z.number(), z.string()])
    .transform(parseBytes)
    .refine((bytes) => bytes > 0, "must be bytes, or a text such as '512MiB' or '4GiB'")
    .optional(),
  persistentBuckets: z.int().min(0).default(0),
  persistentBins: z.int().min(1).default(1),
};

export const offloadPath = 'layerwiseOffload';

/** @throws DejaDitError INVALID_CONFIG naming the field */
export function parseOffloadOptions(options: OffloadOptions): OffloadConfig {
  const config = readOptions(fields, options, offloadPath);
  const { persistentBuckets, persistentBins, prefetchLimit, maxInflightPrefetchBytes } = config;
  if (persistentBins > Math.max(1, persistentBuckets)) {
    throw wrongOption(
      'persistentBins',
      `${persistentBins} bins need as many persistentBuckets, there are ${persistentBuckets}`,
    );
  }
  if (prefetchLimit === 0 && maxInflightPrefetchBytes !== undefined) {
    throw wrongOption('maxInflightPrefetchBytes', 'has no effect with prefetchLimit 0');
  }
  return { ...config, prefetchLimit, maxInflightPrefetchBytes };
}

export function wrongOption(field: keyof OffloadConfig, message: string): DejaDitError {
  return new DejaDitError('INVALID_CONFIG', message, { path: `${offloadPath}.${field}` });
}
