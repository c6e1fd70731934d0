/**
 * Files that Nunchaku has packed: one block as deepcompressor's converter writes it, against the numbers that went in; a whole model, packed
 * here, held, widened, offloaded and cut into rows; what is not read is refused by name.
 */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { fixtures, relativeError } from '../../models/testing/golden.ts';
import { decode } from '../../quantize/formats/encode.ts';
import { multiply } from '../../tensor/linear-algebra/matrix.ts';
import { indicesOf, type Range, select } from '../../tensor/selection.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { readSafetensors } from '../safetensors/safetensors.ts';
import { memoryWeights } from '../weight-source.ts';
import { withNunchakuLayers } from './nunchaku-weights.ts';

const recorded = await readSafetensors(path.join(fixtures, 'single-file/nunchaku/block.safetensors'));
const expected = await readSafetensors(path.join(fixtures, 'single-file/nunchaku/io.safetensors'));
const block = 'single_transformer_blocks.0.';

/** The rows of `proj_out.weight` that are recorded. */
const rows: Range[] = [0, 1, 17, 127, 128, 201, 255].map((row) => ({ from: row, to: row + 1 }));

describe('a block as deepcompressor packs it', () => {
  const source = withNunchakuLayers(memoryWeights(recorded));

  it('has the tensors of Diffusers', () => {
    expect(source.names.map((name) => [name, source.info(name).shape.join()]).toSorted()).toEqual([
      [`${block}norm.linear.bias`, '24'],
      [`${block}norm.linear.weight`, '24,64'],
      [`${block}proj_out.bias`, '256'],
      [`${block}proj_out.weight`, '256,256'],
    ]);
  });

  it.each(Object.keys(expected))('%s is what was packed', async (name) => {
    const all = await source.read(block + name);
    const some = name === 'proj_out.weight' ? select(all, [rows]) : all;
    expect(relativeError(some, expected[name]!)).toBeLessThan(3e-7);
  });

  it.each(['proj_out.weight', 'norm.linear.weight'])('%s is held as what it is read as, in parts too', async (name) => {
    const weight = block + name;
    const held = source.stored!.hold(new Set([weight]));
    const { format, shape } = held.quantized!.get(weight)!;
    const parts: Record<string, Tensor> = {};
    for (const part of held.names)
      if (part.startsWith(`${weight}.`)) parts[part.slice(weight.length + 1)] = await held.read(part);
    const products = {
      times: async (a: Parameters<typeof multiply>[0], b: Parameters<typeof multiply>[1]) => multiply(a, b),
      transposedTimes: () => Promise.reject(),
    };
    const { data } = await decode(parts, format, { columns: shape[1]!, products });
    expect(relativeError(floatTensor(Float32Array.from(data), shape), await source.read(weight))).toBeLessThan(1e-6);
    const cut: Range[] = [
      { from: 1, to: 3 },
      { from: shape[0]! - 5, to: shape[0]! - 1 },
    ];
    for (const part of Object.keys(parts)) {
      const selection = [cut.filter(({ to }) => to < parts[part]!.dim(0))];
      const read = await held.readPart(`${weight}.${part}`, selection);
      expect(read.data, part).toEqual(select(parts[part]!, selection).data);
    }
    const some = await source.readPart(weight, [cut, [{ from: 2, to: 9 }]]);
    expect(some.data).toEqual(select(await source.read(weight), [cut, [{ from: 2, to: 9 }]]).data);
    expect(some.shape).toEqual([indicesOf(cut).length, 7]);
  });

  it.each<[string, (name: string, tensor: Tensor) => readonly [string, Tensor], string]>([
    [
      'nvfp4',
      (name, tensor) =>
        name.endsWith('out_proj.smooth_orig') ? [`${block}out_proj.wcscales`, tensor] : [name, tensor],
      `layer "${block}out_proj" is packed by Nunchaku in nvfp4, which is not read; its int4 files are`,
    ],
    [
      'layers of other families',
      (name, tensor) => [name.replace('out_proj', 'feed_forward.w13'), tensor],
      `layer "${block}feed_forward.w13" is packed by Nunchaku for its CUDA kernels, and is none of FLUX.1 or Qwen-Image`,
    ],
    [
      'scales of another size',
      (name, tensor) => [name, name.endsWith('fc2.wscales') ? select(tensor, [[{ from: 0, to: 1 }]]) : tensor],
      `has "${block}mlp_fc2.wscales" of the type bfloat16 [1,256], not 512 numbers`,
    ],
    [
      'codes of another size',
      (name, tensor) => [name, name.endsWith('fc2.qweight') ? select(tensor, [[{ from: 0, to: 100 }]]) : tensor],
      'has codes of the type int8 [100,64], which are not packed as Nunchaku packs them',
    ],
  ])('refuses %s', (_, change, message) => {
    const changed = Object.fromEntries(Object.entries(recorded).map(([name, tensor]) => change(name, tensor)));
    expect(() => withNunchakuLayers(memoryWeights(changed))).toThrow(message);
  });
});
