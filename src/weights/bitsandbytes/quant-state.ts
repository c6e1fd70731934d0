/**
 * What bitsandbytes says of weights that it has packed into 4 bits: a few words of JSON beside each, in a tensor of bytes. Numbers lie in
 * a row one after the other, two to a byte with the earlier one high; every `blockSize` of them share a scale (`absmax`), which may be a
 * code itself ("nested", double quantisation). Reading them is left to `four-bits.ts`.
 */
import * as z from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { parseJson } from '../../files/json.ts';
import { type Shape, sizeOf } from '../../tensor/tensor.ts';
import { fourBitBlockSizes } from '../formats/weight-format.ts';
import type { StoredWeightInfo } from '../weight-info.ts';
import type { WeightSource } from '../weight-source.ts';

/** A matrix in 4 bits. */
export interface FourBits {
  /** `nf4` or `fp4`, for people: what codes stand for is in the file. */
  readonly type: string;
  /** [out, in]. */
  readonly shape: Shape;
  readonly blockSize: (typeof fourBitBlockSizes)[number];
  /** Of scales that are codes: so many share a scale, and this is added to all. */
  readonly nested: { readonly blockSize: number; readonly offset: number } | undefined;
}

const stateName = /^(.+)\.quant_state\.bitsandbytes__(nf4|fp4)$/;

/** Tensors that belong to a weight in 4 bits, by what follows its name. */
const besides = ['absmax', 'quant_map', 'nested_absmax', 'nested_quant_map'] as const;

/** A few words of JSON. */
const maxStateBytes = 4096;

const count = z.int().positive();

const quantState = z.object({
  blocksize: z.literal(fourBitBlockSizes),
  shape: z.tuple([count, count]),
  nested_blocksize: count.optional(),
  nested_offset: z.number().optional(),
});

/**
 * The matrices of a source that are in 4 bits, by name; their scales are not read for it.
 * @throws DejaDitError INVALID_FILE naming a tensor that is not what the others say
 */
export async function readQuantStates(source: WeightSource): Promise<ReadonlyMap<string, FourBits>> {
  const states = new Map<string, { weight: string; type: string }>();
  for (const name of source.names) {
    const [, weight, type] = stateName.exec(name) ?? [];
    if (weight === undefined || type === undefined) continue;
    const { bytes, file } = source.info(name);
    if (bytes > maxStateBytes)
      throw new DejaDitError('INVALID_FILE', `tensor ${quote(name)} has ${bytes} bytes`, { path: file });
    states.set(name, { weight, type });
  }
  const found = new Map<string, FourBits>();
  await source.readMany(states.keys(), (name, { data }) => {
    const { file } = source.info(name);
    const subject = `tensor ${quote(name)}`;
    const text = data instanceof Uint8Array ? new TextDecoder().decode(data) : '';
    const parsed = quantState.safeParse(parseJson(text, { path: file, subject }));
    if (!parsed.success) {
      const message = `${subject} does not describe a matrix in 4 bits: ${quote(text)}`;
      throw new DejaDitError('INVALID_FILE', message, { path: file });
    }
    const { weight, type } = states.get(name)!;
    const { blocksize: blockSize, shape, nested_blocksize, nested_offset } = parsed.data;
    const isNested = source.has(`${weight}.nested_absmax`);
    const nested = isNested ? { blockSize: nested_blocksize ?? 256, offset: nested_offset ?? 0 } : undefined;
    const state: FourBits = { type, shape, blockSize, nested };
    requireTensors(source, weight, state);
    found.set(weight, state);
  });
  return found;
}

/** Whether a tensor tells how a weight in 4 bits is to be read, and is none itself. */
export function isBeside(name: string, layers: ReadonlyMap<string, FourBits>): boolean {
  const weight = stateName.exec(name)?.[1] ?? name.slice(0, name.lastIndexOf('.'));
  return layers.has(weight) && (stateName.test(name) || besides.some((part) => name === `${weight}.${part}`));
}

/** A packed weight as the matrix that it stands for. */
export function encodedInfo<Info extends StoredWeightInfo>(info: Info, weight: string, layer: FourBits): Info {
  const { type, shape } = layer;
  return { ...info, encoded: { type, shape, within: { weight, row: 0 } } };
}

/**
 * The same with rows of bytes, which can be cut.
 * @throws DejaDitError UNSUPPORTED if rows do not begin with bytes
 */
export function rowsOfBytes<Info extends StoredWeightInfo>(info: Info, weight: string, layer: FourBits): Info {
  const [out, inner] = layer.shape as [number, number];
  const encoded = encodedInfo(info, weight, layer);
  return inner % 2 === 0 ? { ...encoded, shape: [out, inner / 2] } : encoded;
}

/** @throws DejaDitError INVALID_FILE if the tensors of a weight do not fit what is said of it */
function requireTensors(source: WeightSource, weight: string, { shape, blockSize, nested }: FourBits): void {
  const blocks = Math.ceil(sizeOf(shape) / blockSize);
  const expected: [name: string, dtype: string, size: number][] = [
    [weight, 'uint8', Math.ceil(sizeOf(shape) / 2)],
    [`${weight}.absmax`, nested ? 'uint8' : 'float32', blocks],
    [`${weight}.quant_map`, 'float32', 16],
    ...(nested
      ? ([
          [`${weight}.nested_absmax`, 'float32', Math.ceil(blocks / nested.blockSize)],
          [`${weight}.nested_quant_map`, 'float32', 256],
        ] satisfies [string, string, number][])
      : []),
  ];
  for (const [name, dtype, size] of expected) {
    const info = source.info(name);
    // All numbers are on the first axis.
    if (info.dtype === dtype && sizeOf(info.shape) === size && info.shape[0] === size) continue;
    const message = `tensor ${quote(name)} is ${info.dtype} [${info.shape}]; for [${shape}] in blocks of ${blockSize} it must be ${dtype} [${size}]`;
    throw new DejaDitError('INVALID_FILE', message, { path: info.file });
  }
}
