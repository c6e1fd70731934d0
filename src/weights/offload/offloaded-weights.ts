/**
 * Weights of a model that is larger than memory: the blocks' are read from the checkpoint's files bucket by bucket, while those
 * before are computed with; all others are held as usual. Programs are cut to match in `models/spans/bucketed-program.ts`.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { DeviceTensor } from '../../runtime/backend.ts';
import { heldSource } from '../formats/held-parts.ts';
import type { LoraWeights } from '../lora/lora-weights.ts';
import type { WeightInfo } from '../weight-info.ts';
import type { WeightSource } from '../weight-source.ts';
import { WeightStore, type WeightStoreOptions, type Weights } from '../weight-store.ts';
import { BucketPool } from './bucket-pool.ts';
import { type OffloadOptions, parseOffloadOptions } from './options.ts';
import { type OffloadPlan, planOffload, type TargetList } from './plan.ts';
import type { Lease, OffloadSummary, WeightBuckets } from './weight-buckets.ts';

export interface OffloadedWeightsOptions extends Omit<WeightStoreOptions, 'weightDtype'> {
  /**
   * Of weights that stay in memory. The others are as in their files, and widened inside the graphs: doing so at every read would
   * cost more than the reads. Default `stored`.
   */
  weightDtype?: WeightStoreOptions['weightDtype'];
  /** The model's blocks. Of their tensors all are read. */
  lists: readonly TargetList[];
  offload: OffloadOptions;
}

export class OffloadedWeights implements Weights, WeightBuckets {
  private constructor(
    private readonly source: WeightSource,
    private readonly resident: WeightStore,
    private readonly infos: ReadonlyMap<string, WeightInfo>,
    private readonly plan: OffloadPlan,
    private readonly pool: BucketPool,
  ) {}

  /**
   * Reads what stays in memory. The source remains open, and belongs to the result.
   * @throws DejaDitError INVALID_CONFIG naming the option that is wrong or cannot take effect
   */
  static async load(files: WeightSource, options: OffloadedWeightsOptions): Promise<OffloadedWeights> {
    const { lists, offload, backend, weightDtype = 'stored', reads = () => true } = options;
    const source = heldSource(files, backend.capabilities);
    const plan = planOffload(source, { lists, config: parseOffloadOptions(offload) });
    const isOffloaded = (name: string) => {
      const bucket = plan.bucketOf(name);
      return bucket !== undefined && !plan.buckets[bucket]!.persistent;
    };
    const infos = new Map<string, WeightInfo>();
    for (const { tensors } of plan.buckets)
      for (const { name, dtype, shape } of tensors) infos.set(name, { dtype, shape });
    for (const [name, { format, shape }] of source.quantized ?? [])
      if (isOffloaded(name)) infos.set(name, { dtype: 'float32', shape, format });
    const stays = (name: string) => reads(name) && !isOffloaded(name);
    const resident = await WeightStore.load(files, { ...options, weightDtype, reads: stays });
    return new OffloadedWeights(source, resident, infos, plan, new BucketPool(source, backend, plan));
  }

  get origin(): string {
    return this.resident.origin;
  }

  get bytes(): number {
    return this.resident.bytes + this.plan.buffers * this.plan.bufferBytes;
  }

  get lora(): LoraWeights {
    return this.resident.lora;
  }

  get offloaded(): WeightBuckets {
    return this;
  }

  get names(): string[] {
    return [...this.infos.keys(), ...this.resident.names];
  }

  has(name: string): boolean {
    return this.infos.has(name) || this.resident.has(name);
  }

  info(name: string): WeightInfo | undefined {
    return this.infos.get(name) ?? this.resident.info(name);
  }

  get(name: string): DeviceTensor {
    if (!this.infos.has(name)) return this.resident.get(name);
    throw new DejaDitError('UNSUPPORTED', `tensor '${name}' is offloaded: it is in memory only while its block runs`, {
      path: this.origin,
    });
  }

  bucketOf(name: string): number | undefined {
    return this.plan.bucketOf(name);
  }

  async acquire(bucket: number): Promise<Lease | undefined> {
    return this.plan.buckets[bucket]!.persistent ? undefined : this.pool.acquire(bucket);
  }

  summary(): OffloadSummary {
    const { plan, pool, resident } = this;
    const offloaded = plan.buckets.filter(({ persistent }) => !persistent);
    return {
      targets: plan.targets,
      buckets: plan.buckets.length,
      persistentBuckets: plan.buckets.length - offloaded.length,
      prefetchLimit: plan.buffers - 1,
      residentBytes: resident.bytes,
      bufferBytes: plan.buffers * plan.bufferBytes,
      bytesPerForward: offloaded.reduce((sum, { storedBytes }) => sum + storedBytes, 0),
      bytesRead: pool.bytesRead,
      bucketsRead: pool.bucketsRead,
      waitTime: pool.waitTime,
    };
  }

  async dispose(): Promise<void> {
    await this.pool.dispose();
    await this.resident.dispose();
    await this.source.close();
  }
}
