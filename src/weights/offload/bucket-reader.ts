/** Fills a buffer with a bucket. All reads are asked for at once: they go on in Node's own threads while this one computes. */
import { DejaDitError } from '../../errors/errors.ts';
import { viewOf } from '../../tensor/dtype.ts';
import { sizeOf, Tensor } from '../../tensor/tensor.ts';
import type { WeightSource } from '../weight-source.ts';
import type { Bucket, PlacedTensor } from './plan.ts';

/**
 * The bucket's tensors, in the buffer's memory.
 * @throws DejaDitError naming file and tensor, once no read is under way any more
 */
export async function readBucket(
  source: WeightSource,
  { tensors }: Bucket,
  buffer: ArrayBuffer,
): Promise<Map<string, Tensor>> {
  const reads = await Promise.allSettled(tensors.map((placed) => readTensor(source, placed, buffer)));
  const failed = reads.find((read) => read.status === 'rejected');
  if (failed) throw failed.reason;
  return new Map(
    tensors.map(({ name, dtype, shape, offset }) => [
      name,
      new Tensor(dtype, viewOf(dtype, buffer, offset, sizeOf(shape)), shape),
    ]),
  );
}

async function readTensor(
  source: WeightSource,
  { name, offset, bytes }: PlacedTensor,
  buffer: ArrayBuffer,
): Promise<void> {
  try {
    await source.readInto(name, new Uint8Array(buffer, offset, bytes));
  } catch (cause) {
    if (cause instanceof DejaDitError) throw cause;
    const code = (cause as { code?: string }).code ?? String(cause);
    throw new DejaDitError('RUNTIME', `tensor '${name}' cannot be read (${code})`, {
      path: source.info(name).file,
      cause,
    });
  }
}
