/**
 * The few buffers that all buckets share: who is in which, who uses it, and what is read next. Whatever was read stays until its
 * buffer is needed, so a cached step, which runs the first blocks only, reads nothing.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { Backend, DeviceTensor } from '../../runtime/backend.ts';
import type { WeightSource } from '../weight-source.ts';
import { readBucket } from './bucket-reader.ts';
import type { OffloadPlan } from './plan.ts';
import type { Lease } from './weight-buckets.ts';

interface Slot {
  buffer: ArrayBuffer | undefined;
  bucket: number | undefined;
  /** Fails if the bucket cannot be read. */
  loaded: Promise<void>;
  loading: boolean;
  tensors: Map<string, DeviceTensor>;
  users: number;
  /** When it was last asked for or wished for. */
  wanted: number;
}

export class BucketPool {
  /** Bytes read from files so far, and the buckets they belong to. */
  bytesRead = 0;
  bucketsRead = 0;
  /** Milliseconds that programs have waited for reads so far. */
  waitTime = 0;
  private readonly slots: readonly Slot[];
  /** Buckets that are not persistent, in the model's order. */
  private readonly order: readonly number[];
  private waiting: (() => void)[] = [];
  private clock = 0;
  private disposed = false;

  constructor(
    private readonly source: WeightSource,
    private readonly backend: Backend,
    private readonly plan: OffloadPlan,
  ) {
    this.order = plan.buckets.flatMap(({ persistent }, i) => (persistent ? [] : [i]));
    this.slots = Array.from({ length: plan.buffers }, () => ({
      buffer: undefined,
      bucket: undefined,
      loaded: Promise.resolve(),
      loading: false,
      tensors: new Map(),
      users: 0,
      wanted: 0,
    }));
  }

  /**
   * Waits until a bucket is in memory, and begins to read those that follow it. Release it before the next is acquired: requests
   * that run at the same time take turns.
   * @throws DejaDitError naming the file and tensor that cannot be read
   */
  async acquire(bucket: number): Promise<Lease> {
    const start = performance.now();
    const slot = await this.claim(bucket);
    this.readAhead(bucket);
    const release = () => {
      slot.users--;
      this.wake();
    };
    try {
      await slot.loaded;
    } catch (error) {
      release();
      throw error;
    } finally {
      this.waitTime += performance.now() - start;
    }
    return { get: (name) => slot.tensors.get(name)!, release };
  }

  /** Drops all buckets, once no read is under way any more. */
  async dispose(): Promise<void> {
    this.disposed = true;
    this.wake();
    await Promise.allSettled(this.slots.map(({ loaded }) => loaded));
    for (const slot of this.slots) this.empty(slot);
  }

  /** The slot that holds a bucket or will, with one more user; waits while all are in use. */
  private async claim(bucket: number): Promise<Slot> {
    for (;;) {
      if (this.disposed) throw new DejaDitError('DISPOSED', 'the model was disposed while it was running');
      const slot = this.slots.find((candidate) => candidate.bucket === bucket) ?? this.load(bucket, []);
      if (slot) {
        slot.users++;
        slot.wanted = ++this.clock;
        return slot;
      }
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  /** After the last bucket comes the first: the next step begins with it. */
  private readAhead(bucket: number): void {
    const at = this.order.indexOf(bucket);
    const next = Array.from({ length: this.slots.length - 1 }, (_, i) => this.order[(at + 1 + i) % this.order.length]!);
    for (const wanted of next) {
      if (!this.slots.some((slot) => slot.bucket === wanted)) this.load(wanted, next);
    }
  }

  /** Reads a bucket into the slot that has been idle for longest; undefined if there is none. */
  private load(bucket: number, keep: readonly number[]): Slot | undefined {
    const idle = this.slots.filter(
      (slot) => slot.users === 0 && !slot.loading && (slot.bucket === undefined || !keep.includes(slot.bucket)),
    );
    const slot = idle.sort((a, b) => a.wanted - b.wanted)[0];
    if (!slot) return undefined;
    this.empty(slot);
    slot.bucket = bucket;
    slot.wanted = ++this.clock;
    slot.loading = true;
    slot.loaded = this.read(slot, bucket);
    // Nobody may be waiting for a bucket that was read ahead; who comes to need it reads it again and sees the error.
    slot.loaded.catch(() => {});
    return slot;
  }

  private async read(slot: Slot, bucket: number): Promise<void> {
    const { source, backend, plan } = this;
    try {
      slot.buffer ??= allocate(plan.bufferBytes);
      const found = plan.buckets[bucket]!;
      const tensors = await readBucket(source, found, slot.buffer);
      for (const [name, tensor] of tensors) slot.tensors.set(name, backend.upload(tensor));
      this.bytesRead += found.storedBytes;
      this.bucketsRead++;
    } catch (error) {
      slot.bucket = undefined;
      throw error;
    } finally {
      slot.loading = false;
      this.wake();
    }
  }

  private empty(slot: Slot): void {
    for (const tensor of slot.tensors.values()) tensor.dispose();
    slot.tensors.clear();
    slot.bucket = undefined;
  }

  private wake(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const resume of waiting) resume();
  }
}

function allocate(bytes: number): ArrayBuffer {
  try {
    return new ArrayBuffer(bytes);
  } catch (cause) {
    throw new DejaDitError(
      'RUNTIME',
      `not enough memory for a bucket of ${bytes} bytes; lower transferBuckets or prefetchLimit`,
      {
        path: 'layerwiseOffload',
        cause,
      },
    );
  }
}
