/**
 * Reads tensors' bytes from an open file, in file order and in few large reads, so that loading a model costs one pass
 * over the disk and peak memory stays near one copy of what is kept. Which bytes belong to which tensor is settled by
 * `safetensors-header.ts`.
 */
import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import type { OpenedFile } from '../../files/files.ts';
import { bytesPerElement, type DType, viewOf } from '../../tensor/dtype.ts';
import { isAll, lengthOf, type Range, type Selection, select, selectedShape } from '../../tensor/selection.ts';
import { sizeOf, Tensor } from '../../tensor/tensor.ts';
import type { TensorInfo } from './safetensors-header.ts';

export interface ReadOptions {
  /** `'float32'` turns bfloat16, float16 and float8 tensors into float32 while reading. Default: dtypes as stored. */
  widen?: 'float32' | undefined;
  /** Checked between reads. */
  signal?: AbortSignal | undefined;
}

/** Up to here neighbours share one read: far above the cost of a call, far below what a model weighs. */
const groupBytes = 4 << 20;
/** One read call cannot return 2 GiB; smaller ones leave room to notice an abort. */
const readBytes = 256 << 20;
/** A typed array cannot hold more elements on the oldest Node we support. */
const maxElements = 2 ** 32;

/** The types that `widen` turns into float32. */
export function isNarrowFloat(dtype: DType): boolean {
  return dtype === 'float16' || dtype === 'bfloat16' || dtype === 'float8_e4m3fn' || dtype === 'float8_e5m2';
}

/**
 * Reads the given tensors of one file and hands them over one by one; each owns its memory.
 * @param tensors any tensors of the file; they are read in the order of their offsets
 */
export async function readTensors(
  opened: OpenedFile,
  tensors: Iterable<readonly [name: string, info: TensorInfo]>,
  { onTensor, widen, signal }: ReadOptions & { onTensor: (name: string, tensor: Tensor) => void | Promise<void> },
): Promise<void> {
  const sorted = [...tensors].sort(([, a], [, b]) => a.offset - b.offset);
  for (const [name, info] of sorted) requireHoldable(name, info);
  // Bytes that will be copied or widened pass through one buffer that is used again and again.
  let scratch = new ArrayBuffer(0);
  for (const group of neighbours(sorted)) {
    const [firstName, first] = group[0]!;
    const last = group.at(-1)![1];
    const bytes = last.offset + last.bytes - first.offset;
    if (group.length === 1 && !(widen && isNarrowFloat(first.dtype))) {
      const own = inMemory(() => new ArrayBuffer(bytes), firstName, first);
      await readInto(new Uint8Array(own), { opened, name: firstName, info: first, signal });
      await onTensor(firstName, makeTensor(own, 0, first));
      continue;
    }
    if (scratch.byteLength < bytes) scratch = inMemory(() => new ArrayBuffer(bytes), firstName, first);
    await readInto(new Uint8Array(scratch, 0, bytes), { opened, name: firstName, info: first, signal });
    for (const [name, info] of group) {
      const take = widen && isNarrowFloat(info.dtype) ? widened : copied;
      const tensor = inMemory(() => take(scratch, info.offset - first.offset, info), name, info);
      await onTensor(name, tensor);
    }
  }
}

/**
 * Reads the selected elements of one tensor. Of a selection of rows nothing else is read; where columns are selected too, rows are read
 * a few at a time, and cut.
 */
export async function readSelected(
  opened: OpenedFile,
  { name, info, selection }: { name: string; info: TensorInfo; selection: Selection },
  { widen, signal }: ReadOptions,
): Promise<Tensor> {
  const { dtype, bytes } = info;
  const rows = info.shape[0]!;
  const shape = selectedShape(info.shape, selection);
  const dtypeRead = widen && isNarrowFloat(dtype) ? 'float32' : dtype;
  requireHoldable(name, { ...info, shape });
  const rowBytes = bytes / rows;
  const own = inMemory(() => new ArrayBuffer(sizeOf(shape) * bytesPerElement(dtypeRead)), name, info);
  const result = new Tensor(dtypeRead, viewOf(dtypeRead, own, 0, sizeOf(shape)), shape);
  const place = (row: number): TensorInfo => ({ ...info, offset: info.offset + row * rowBytes });
  const ranges = selection[0] ?? [{ from: 0, to: rows }];
  const columns: Selection = [undefined, ...selection.slice(1)];
  if (dtypeRead === dtype && isAll(columns)) {
    let at = 0;
    for (const range of ranges) {
      const length = lengthOf([range]) * rowBytes;
      await readInto(new Uint8Array(own, at, length), { opened, name, info: place(range.from), signal });
      at += length;
    }
    return result;
  }
  const atOnce = Math.max(1, Math.floor(groupBytes / rowBytes));
  const scratch = inMemory(() => new ArrayBuffer(Math.min(atOnce, lengthOf(ranges)) * rowBytes), name, info);
  let at = 0;
  for (const { from, to } of ranges.flatMap((range) => stretches(range, atOnce))) {
    const block = new Uint8Array(scratch, 0, (to - from) * rowBytes);
    await readInto(block, { opened, name, info: place(from), signal });
    const read = select(makeTensor(scratch, 0, { ...info, shape: [to - from, ...info.shape.slice(1)] }), columns);
    const { data } = dtypeRead === dtype ? read : read.float();
    // Both are of the same class, which the compiler cannot know.
    (result.data as Uint8Array).set(data as Uint8Array, at);
    at += data.length;
  }
  return result;
}

/** A range in pieces of at most so many. */
function stretches({ from, to }: Range, length: number): Range[] {
  return Array.from({ length: Math.ceil((to - from) / length) }, (_, i) => ({
    from: from + i * length,
    to: Math.min(to, from + (i + 1) * length),
  }));
}

function requireHoldable(name: string, { dtype, shape, bytes, file }: TensorInfo): void {
  if (sizeOf(shape) > maxElements) {
    throw new DejaDitError(
      'UNSUPPORTED',
      `tensor ${quote(name)}: ${dtype} [${shape}] is ${(bytes / 2 ** 30).toFixed(1)} GiB; JavaScript arrays end at ${maxElements} elements`,
      { path: file },
    );
  }
}

/** Splits sorted tensors into runs without holes that fit one read; a large tensor is a run of its own. */
function neighbours(sorted: readonly (readonly [string, TensorInfo])[]): (readonly [string, TensorInfo])[][] {
  const groups: (readonly [string, TensorInfo])[][] = [];
  let start = 0;
  let end = Number.NaN;
  for (const item of sorted) {
    const { offset, bytes } = item[1];
    if (offset === end && offset + bytes - start <= groupBytes) {
      groups.at(-1)!.push(item);
    } else {
      groups.push([item]);
      start = offset;
    }
    end = offset + bytes;
  }
  return groups;
}

/** Fills `target` with the bytes that begin where the tensor does. The first read is asked for at once. */
export async function readInto(
  target: Uint8Array,
  {
    opened,
    name,
    info,
    signal,
  }: { opened: OpenedFile; name: string; info: TensorInfo; signal?: AbortSignal | undefined },
): Promise<void> {
  for (let done = 0; done < target.length; ) {
    throwIfAborted(signal);
    const window = target.subarray(done, done + readBytes);
    const read = await opened.read(window, info.offset + done);
    if (read === 0) {
      throw new DejaDitError(
        'INVALID_FILE',
        `ends at byte ${info.offset + done}: it was cut while ${quote(name)} was being read`,
        { path: info.file },
      );
    }
    done += read;
  }
}

function makeTensor(buffer: ArrayBuffer, start: number, { dtype, shape }: TensorInfo): Tensor {
  return new Tensor(dtype, viewOf(dtype, buffer, start, sizeOf(shape)), shape);
}

/** A copy, so that a small bias neither pins the buffer around it nor stays misaligned. */
function copied(scratch: ArrayBuffer, start: number, info: TensorInfo): Tensor {
  return makeTensor(scratch.slice(start, start + info.bytes), 0, info);
}

function widened(scratch: ArrayBuffer, start: number, info: TensorInfo): Tensor {
  const aligned = start % bytesPerElement(info.dtype) === 0;
  return (aligned ? makeTensor(scratch, start, info) : copied(scratch, start, info)).float();
}

function inMemory<T>(allocate: () => T, name: string, { bytes, file }: TensorInfo): T {
  try {
    return allocate();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new DejaDitError('RUNTIME', `tensor ${quote(name)}: not enough memory for ${bytes} bytes`, {
      path: file,
      cause,
    });
  }
}
