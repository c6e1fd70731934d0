/** What programs see of weights that come and go. */
import type { DeviceTensor } from '../../runtime/backend.ts';

export interface WeightBuckets {
  /** The bucket of a weight, or of a module's path; undefined outside the blocks. */
  bucketOf(name: string): number | undefined;
  /** Brings a bucket into memory; undefined for one that is always there. */
  acquire(bucket: number): Promise<Lease | undefined>;
  summary(): OffloadSummary;
}

/** A bucket in memory, until it is released. */
export interface Lease {
  get(name: string): DeviceTensor;
  release(): void;
}

/** What offloading does to a model: sizes in bytes, and what has happened since it was loaded. */
export interface OffloadSummary {
  /** Blocks. */
  targets: number;
  buckets: number;
  persistentBuckets: number;
  /** Buckets read ahead. */
  prefetchLimit: number;
  /** Weights that stay in memory. */
  residentBytes: number;
  /** Memory that the other buckets take turns in. */
  bufferBytes: number;
  /** Read by a forward pass that computes every block. */
  bytesPerForward: number;
  /** Read so far. */
  bytesRead: number;
  bucketsRead: number;
  /** Milliseconds that programs have waited for reads so far. */
  waitTime: number;
}
