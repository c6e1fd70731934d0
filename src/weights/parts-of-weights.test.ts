/** What is read of a part of a weight is what is cut from it when it is read whole: in every format, and for every way in which weights lie in files. */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { disk } from '../files/disk.ts';
import { mount, type OpenedFile } from '../files/files.ts';
import { AutoModel } from '../models/auto-model.ts';
import { fixtures } from '../models/testing/golden.ts';
import { type Range, type Selection, select } from '../tensor/selection.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { openWeights } from './open-weights.ts';
import { openSingleFile } from './single-file/open-single-file.ts';
import type { WeightSource } from './weight-source.ts';

const flux = path.join(fixtures, 'models/flux');
const single = (file: string) => async () => {
  await using model = await AutoModel.fromPretrained(flux);
  const { originalNames: names, config } = model.definition;
  return openSingleFile(path.join(fixtures, 'single-file', file), { component: 'transformer', names, model: config });
};

const files: Record<string, () => Promise<WeightSource>> = {
  'a folder': () => openWeights(flux),
  'a single file': single('flux/bfl_prefixed_bf16.safetensors'),
  'scaled float8': single('flux/scaled_fp8_prefixed_input.safetensors'),
  'float8 without scales': single('flux/bfl_fp8_e4m3fn_all.safetensors'),
  'GGUF of 8 bits': single('gguf-flux/q8_0.gguf'),
  "bitsandbytes' NF4 of a folder": () => openWeights(path.join(fixtures, 'single-file/bitsandbytes/diffusers')),
  "bitsandbytes' NF4 in one file": single('bitsandbytes/bfl_nf4.safetensors'),
  'GGUF of several types': single('gguf-flux-64/mixed.gguf'),
};

describe.each(Object.keys(files))('%s', (name) => {
  it.each(['as numbers', 'held'])('%s', async (how) => {
    const opened = await files[name]!();
    const matrices = new Set(opened.names.filter((each) => opened.info(each).shape.length === 2));
    const source = how === 'held' ? opened.stored?.hold(matrices) : opened;
    for (const each of source?.names ?? []) {
      const { shape } = source!.info(each);
      const whole = await source!.read(each, { widen: 'float32' });
      for (const selection of selections(shape)) {
        const part = await source!.readPart(each, selection, { widen: 'float32' });
        expect(isSame(part, select(whole, selection)), `${each} [${shape}]: ${JSON.stringify(selection)}`).toBe(true);
      }
    }
    await opened.close();
  });
});

/** Of arrays this takes a hundredth of the time of `toEqual`. */
function isSame(a: Tensor, b: Tensor): boolean {
  const bytes = ({ data: { buffer, byteOffset, byteLength } }: Tensor) => Buffer.from(buffer, byteOffset, byteLength);
  return a.dtype === b.dtype && a.shape.join() === b.shape.join() && bytes(a).equals(bytes(b));
}

it('nothing is read besides rows that are asked for', async () => {
  let read = 0;
  using _ = mount('/counted', {
    stat: (name) => disk.stat(path.join(flux, name)),
    list: (name) => disk.list(path.join(flux, name)),
    async open(name) {
      const file = (await disk.open(path.join(flux, name)))!;
      const counted: OpenedFile['read'] = async (target, position) => {
        const bytes = await file.read(target, position);
        read += bytes;
        return bytes;
      };
      return { size: file.size, close: () => file.close(), read: counted };
    },
  });
  const source = await openWeights('/counted');
  const name = 'transformer_blocks.0.attn.to_q.weight';
  const { bytes, shape } = source.info(name);
  read = 0;
  await source.readPart(name, [[{ from: 3, to: 8 }]], { widen: 'float32' });
  expect(read).toBe((5 * bytes) / shape[0]!);
  await source.close();
});

/** Rows, columns, and both; two ranges where there is room for them. */
function selections(shape: readonly number[]): Selection[] {
  const some = (size: number): Range[] =>
    size < 4
      ? [{ from: size - 1, to: size }]
      : [
          { from: 1, to: 2 },
          { from: size >> 1, to: size - 1 },
        ];
  const axes = shape.map((size) => some(size));
  return [axes.slice(0, 1), [undefined, ...axes.slice(1)], axes];
}
