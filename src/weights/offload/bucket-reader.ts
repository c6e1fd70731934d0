/** Fills a buffer with a bucket. All reads are asked for at once: they go on in Node's own threads while this one computes. */
import { DejaDitError } from '../../errors/errors.ts';
import { toFloat32 } from '../../tensor/convert.ts';
import { viewOf } from '../../tensor/dtype.ts';
import { sizeOf, Tensor } from '../../tensor/tensor.ts';
import type { WeightSource } from '../weight-source.ts';
import type { Bucket, PlacedTensor } from './plan.ts';

/** Elements widened at a time. */
const chunk = 1 << 16;

/**
 * The bucket's tensors, in the buffer's memory.
 * @throws DejaDitError naming file and tensor, once no read is under way any more
 */
export async function readBucket(
  source: WeightSource,
  bucket: Bucket,
  buffer: ArrayBuffer,
): Promise<Map<string, Tensor>> {
  const reads = bucket.tensors.map(async (placed) => [placed.name, await readTensor(source, placed, buffer)] as const);
  const settled = await Promise.allSettled(reads);
  return new Map(
    settled.map((read) => {
      if (read.status === 'rejected') throw read.reason;
      return read.value;
    }),
  );
}

async function readTensor(source: WeightSource, placed: PlacedTensor, buffer: ArrayBuffer): Promise<Tensor> {
  const { name, shape, stored, storedBytes, dtype, offset, bytes } = placed;
  // Narrow numbers go to the end of their place, so that each is read before a wide one is written over it.
  const start = offset + bytes - storedBytes;
  try {
    await source.readInto(name, new Uint8Array(buffer, start, storedBytes));
  } catch (cause) {
    if (cause instanceof DejaDitError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
    throw new DejaDitError('RUNTIME', `tensor '${name}' cannot be read (${code})`, {
      path: source.info(name).file,
      cause,
    });
  }
  const values = viewOf(dtype, buffer, offset, sizeOf(shape));
  if (dtype !== stored) {
    const narrow = viewOf(stored, buffer, start, sizeOf(shape));
    for (let i = 0; i < narrow.length; i += chunk)
      (values as Float32Array).set(toFloat32(stored, narrow.subarray(i, i + chunk)), i);
  }
  return new Tensor(dtype, values, shape);
}
