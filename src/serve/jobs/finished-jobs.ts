/** Finished jobs with their results, within limits of number, size and age: the oldest go first. */
import { bytesOf, type Job } from './job.ts';

export interface KeepLimits {
  /** Jobs. Default 1000. */
  count?: number | undefined;
  /** Of all results together. Default 256 MiB. The newest job is kept whatever it takes. */
  bytes?: number | undefined;
  /** Seconds. Default 3600. */
  age?: number | undefined;
}

export class FinishedJobs<J extends Job> {
  /** Oldest first. */
  private readonly kept = new Map<string, { job: J; bytes: number; at: number }>();
  private readonly limits: Required<{ [K in keyof KeepLimits]: number }>;
  private total = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor({ count = 1000, bytes = 2 ** 28, age = 3600 }: KeepLimits = {}) {
    this.limits = { count, bytes, age };
  }

  get bytes(): number {
    return this.total;
  }

  get size(): number {
    return this.kept.size;
  }

  add(job: J): void {
    const bytes = bytesOf([job.request.input, job.result, job.preview]);
    this.kept.set(job.id, { job, bytes, at: Date.now() });
    this.total += bytes;
    this.trim();
  }

  get(id: string): J | undefined {
    this.trim();
    return this.kept.get(id)?.job;
  }

  delete(id: string): boolean {
    const entry = this.kept.get(id);
    if (!entry) return false;
    this.total -= entry.bytes;
    return this.kept.delete(id);
  }

  /** Oldest first. */
  list(): J[] {
    this.trim();
    return [...this.kept.values()].map(({ job }) => job);
  }

  clear(): void {
    for (const id of [...this.kept.keys()]) this.delete(id);
    clearTimeout(this.timer);
  }

  private trim(): void {
    const { count, bytes, age } = this.limits;
    const oldest = Date.now() - age * 1000;
    for (const [id, { at }] of this.kept) {
      const over = this.kept.size > count || (this.total > bytes && this.kept.size > 1);
      if (!over && at >= oldest) break;
      this.delete(id);
    }
    clearTimeout(this.timer);
    const [first] = this.kept.values();
    // Memory is given back even if nobody asks again.
    if (first) this.timer = setTimeout(() => this.trim(), Math.max(1000, first.at - oldest)).unref();
  }
}
