/** Which blocks form which bucket, which buckets stay in memory, and how each of the others lies in a buffer. No data is read here. */
import { DejaDitError } from '../../errors/errors.ts';
import type { DType } from '../../tensor/dtype.ts';
import type { Shape } from '../../tensor/tensor.ts';
import type { WeightSource } from '../weight-source.ts';
import { type OffloadConfig, offloadPath, wrongOption } from './options.ts';

/** A run of blocks with weights of their own, as `BlockList` of the models. */
export interface TargetList {
  /** The blocks' weights are named `<name>.<index>.…`. */
  readonly name: string;
  readonly count: number;
}

/**
 * Runs of equal modules as weights' names show them, `encoder.block.0.…` to `encoder.block.23.…`, for models that do not say which
 * blocks they have. Of nested runs the outermost counts.
 */
export function repeatedModules(names: Iterable<string>): TargetList[] {
  const lists = new Map<string, Set<number>>();
  for (const name of names) {
    const [, list, index] = /^(.*?)\.(\d+)\./.exec(name) ?? [];
    if (list !== undefined) lists.set(list, (lists.get(list) ?? new Set()).add(Number(index)));
  }
  const found = [...lists].filter(([, indices]) => indices.size > 1 && Math.max(...indices) === indices.size - 1);
  return found.map(([name, { size }]) => ({ name, count: size }));
}

/** A tensor's place in a buffer that holds one bucket. */
export interface PlacedTensor {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  readonly offset: number;
  readonly bytes: number;
}

export interface Bucket {
  readonly persistent: boolean;
  /** Empty for a persistent bucket, whose tensors are in no buffer. */
  readonly tensors: readonly PlacedTensor[];
  /** Of a buffer that holds it, with the gaps between tensors. */
  readonly bytes: number;
  /** Read from files to fill it. */
  readonly storedBytes: number;
}

export interface OffloadPlan {
  readonly targets: number;
  readonly buckets: readonly Bucket[];
  /** The bucket of a weight, or of a module's path; undefined outside the blocks. */
  bucketOf(name: string): number | undefined;
  /** Buffers, each of which holds any one bucket: one for the bucket in use, the others for those read ahead. */
  readonly buffers: number;
  readonly bufferBytes: number;
}

/** Alignment of tensors in a buffer. */
const alignment = 64;

/** @throws DejaDitError INVALID_CONFIG naming the option that cannot take effect on this model */
export function planOffload(
  source: WeightSource,
  { lists, config }: { lists: readonly TargetList[]; config: OffloadConfig },
): OffloadPlan {
  const { transferBuckets, persistentBuckets, persistentBins } = config;
  const longest = Math.max(...lists.map(({ count }) => count));
  if (transferBuckets > longest)
    throw wrongOption('transferBuckets', `${transferBuckets} blocks at a time, the model has ${longest} in a row`);
  // No bucket reaches over the end of a list: its blocks would share no program with the others.
  const firstBuckets: number[] = [];
  let count = 0;
  for (const list of lists) {
    firstBuckets.push(count);
    count += Math.ceil(list.count / transferBuckets);
  }
  if (persistentBuckets >= count) {
    throw wrongOption(
      'persistentBuckets',
      `${persistentBuckets} of ${count} buckets would leave nothing to read from files`,
    );
  }
  const bucketOf = (name: string): number | undefined => {
    for (const [i, list] of lists.entries()) {
      if (!name.startsWith(`${list.name}.`)) continue;
      const index = Number(name.slice(list.name.length + 1).split('.', 1)[0]);
      if (Number.isInteger(index) && index < list.count) return firstBuckets[i]! + Math.floor(index / transferBuckets);
    }
    return undefined;
  };

  const persistent = persistentIndices({ count, persistent: persistentBuckets, bins: persistentBins });
  const names = Array.from({ length: count }, (): string[] => []);
  for (const name of source.names) {
    const bucket = bucketOf(name);
    if (bucket !== undefined && !persistent.has(bucket)) names[bucket]!.push(name);
  }
  const buckets = names.map((own, i) => ({ persistent: persistent.has(i), ...place(own, source) }));
  const bufferBytes = Math.max(...buckets.map(({ bytes }) => bytes));
  const offloadedBytes = buckets.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    targets: lists.reduce((sum, list) => sum + list.count, 0),
    buckets,
    bucketOf,
    bufferBytes,
    buffers: 1 + readAhead({ config, offloadedBytes, bufferBytes }),
  };
}

/** How many buckets are read ahead. */
function readAhead({
  config,
  offloadedBytes,
  bufferBytes,
}: {
  config: OffloadConfig;
  offloadedBytes: number;
  bufferBytes: number;
}): number {
  const { prefetchLimit, maxInflightPrefetchBytes } = config;
  // Buffers that could hold all that is offloaded would save nothing.
  const most = Math.ceil(offloadedBytes / bufferBytes) - 2;
  if (!(most >= 0)) {
    throw new DejaDitError(
      'INVALID_CONFIG',
      'one buffer would hold all that is to be read from files; lower transferBuckets or persistentBuckets',
      { path: offloadPath },
    );
  }
  if (prefetchLimit !== undefined && prefetchLimit > most) {
    const all = `${1 + prefetchLimit} buffers of ${bufferBytes} bytes would hold all that is to be read from files`;
    throw wrongOption('prefetchLimit', `${all}; at most ${most}`);
  }
  const affordable = Math.floor((maxInflightPrefetchBytes ?? Number.POSITIVE_INFINITY) / bufferBytes);
  if (affordable === 0) {
    throw wrongOption(
      'maxInflightPrefetchBytes',
      `${maxInflightPrefetchBytes} bytes hold no bucket, the largest has ${bufferBytes}; set prefetchLimit 0 to read nothing ahead`,
    );
  }
  const wanted = prefetchLimit ?? (maxInflightPrefetchBytes === undefined ? 1 : affordable);
  return Math.min(wanted, affordable, most);
}

/** The first few of each of `bins` equal parts. */
export function persistentIndices({
  count,
  persistent,
  bins,
}: {
  count: number;
  persistent: number;
  bins: number;
}): Set<number> {
  let next = 0;
  const indices = Array.from({ length: persistent }, (_, i) => {
    const bin = Math.floor((i * bins) / persistent);
    const withinBin = i - Math.ceil((bin * persistent) / bins);
    const index = Math.max(next, Math.floor((bin * count) / bins) + withinBin);
    next = index + 1;
    return index;
  });
  return new Set(indices);
}

function place(names: readonly string[], source: WeightSource): Pick<Bucket, 'tensors' | 'bytes' | 'storedBytes'> {
  const tensors: PlacedTensor[] = [];
  let end = 0;
  for (const name of names) {
    const { dtype, shape, bytes } = source.info(name);
    const offset = Math.ceil(end / alignment) * alignment;
    tensors.push({ name, dtype, shape, offset, bytes });
    end = offset + bytes;
  }
  return { tensors, bytes: end, storedBytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0) };
}
