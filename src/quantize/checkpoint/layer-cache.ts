/**
 * Layers that were quantised before, on disk, by the hash of all that went in: the weight's bits, the format and its options.
 * Worth it for SVDQuant alone; the other formats are made as fast as they are read.
 */
import { createHash } from 'node:crypto';
import os from 'node:os';
import path from 'node:path';
import { DejaDitError } from '../../errors/errors.ts';
import { warn } from '../../errors/warnings.ts';
import type { Matrix } from '../../tensor/linear-algebra/matrix.ts';
import { partsOf, type WeightFormat } from '../../weights/formats/weight-format.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { writeSafetensors } from '../../weights/safetensors/write-safetensors.ts';
import type { Parts } from '../formats/scales.ts';
import type { SvdQuantOptions } from '../formats/svdquant.ts';

/** Changes whenever the same inputs give other codes. */
const version = 1;

/** `deja-dit/quantized` under `$XDG_CACHE_HOME`, or `~/.cache`. */
export function defaultCacheDir(): string {
  return path.join(process.env['XDG_CACHE_HOME'] ?? path.join(os.homedir(), '.cache'), 'deja-dit', 'quantized');
}

/** What `make` returns, from the folder if it was made before. */
export async function cachedLayer(
  {
    folder,
    weight,
    format,
    options,
  }: { folder: string; weight: Matrix; format: WeightFormat; options: SvdQuantOptions },
  make: () => Promise<Parts>,
): Promise<Parts> {
  const file = path.join(folder, `${keyOf(weight, format, options)}.safetensors`);
  const found = await read(file, partsOf(format, [weight.rows, weight.columns]));
  if (found) return found;
  const parts = await make();
  try {
    await writeSafetensors(file, parts);
  } catch (error) {
    // A full disk must not keep a model from running.
    warn(`${folder}: layers are not kept for the next time (${(error as Error).message})`);
  }
  return parts;
}

function keyOf(
  weight: Matrix,
  format: WeightFormat,
  { smooth, method, refineIterations = 0 }: SvdQuantOptions,
): string {
  const hash = createHash('sha256');
  const { data, rows, columns } = weight;
  hash.update(
    JSON.stringify({ version, format, rows, columns, method, refineIterations, smooth: smooth !== undefined }),
  );
  for (const { buffer, byteOffset, byteLength } of smooth ? [data, smooth] : [data])
    hash.update(new Uint8Array(buffer, byteOffset, byteLength));
  return hash.digest('hex');
}

async function read(file: string, specs: ReturnType<typeof partsOf>): Promise<Parts | undefined> {
  try {
    const parts = await readSafetensors(file);
    const fits = Object.entries(specs).every(
      ([name, { dtype, shape }]) => parts[name]?.dtype === dtype && parts[name].shape.join() === shape.join(),
    );
    return fits ? parts : undefined;
  } catch (error) {
    if (error instanceof DejaDitError && (error.code === 'NOT_FOUND' || error.code === 'INVALID_FILE'))
      return undefined;
    throw error;
  }
}
