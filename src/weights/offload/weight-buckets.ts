/** What programs see of weights that come and go. */
import type { DeviceTensor } from '../../runtime/backend.ts';

export interface WeightBuckets {
  /** The bucket of a weight, or of a module's path; undefined outside the blocks. */
  bucketOf(name: string): number | undefined;
  /** Brings a bucket into memory; undefined for one that is always there. */
  acquire(bucket: number): Promise<Lease | undefined>;
}

/** A bucket in memory, until it is released. */
export interface Lease {
  get(name: string): DeviceTensor;
  release(): void;
}
