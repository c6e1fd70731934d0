/** Codes in blocks multiplied as they are, by the operator that GPUs have for it, against the matrices that they stand for. */
import { afterAll, describe, expect, it } from 'vitest';
import { hasWebGpu } from '../../tests/webgpu.ts';
import { GraphBuilder } from '../graph/builder.ts';
import { quantizedProduct } from '../nn/quantized-linear.ts';
import type { Backend } from '../runtime/backend.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { takeDown, uploadAll } from '../runtime/host-tensors.ts';
import { disposeTensors } from '../runtime/tensor-table.ts';
import { Generator } from '../tensor/generator.ts';
import { matrixOf, multiply, transpose } from '../tensor/linear-algebra/matrix.ts';
import { sizeOf, Tensor } from '../tensor/tensor.ts';
import { requireProduct } from '../weights/formats/held-parts.ts';
import { partsOf, type WeightFormat } from '../weights/formats/weight-format.ts';
import { decode } from './formats/encode.ts';

const [rows, inner, out] = [5, 96, 40];
const generator = new Generator(11);

/** Parts of a format, whatever numbers they hold. */
function someParts(format: WeightFormat): Record<string, Tensor> {
  const entries = Object.entries(partsOf(format, [out, inner])).map(([name, { dtype, shape }]) => {
    const noise = generator.randn(shape);
    if (dtype === 'float32') return [name, noise] as const;
    const bytes = Uint8Array.from({ length: sizeOf(shape) }, (_, i) => Math.abs(noise.f32[i]!) * 1e4);
    return [name, new Tensor('uint8', bytes, shape)] as const;
  });
  return Object.fromEntries(entries);
}

const formats: WeightFormat[] = [
  { kind: 'block', bits: 4, blockSize: 32 },
  { kind: 'block', bits: 4, blockSize: 64 },
  { kind: 'block', bits: 8, blockSize: 32 },
  { kind: 'affine', bits: 4, blockSize: 32 },
  { kind: 'affine', bits: 8, blockSize: 32 },
  { kind: 'affine', bits: 8, blockSize: 16 },
];

describe.each(['cpu', ...(hasWebGpu ? (['webgpu'] as const) : [])] as const)('on %s', (name) => {
  let opened: Promise<Backend> | undefined;
  const backend = () => {
    opened ??= createBackend({ backend: name });
    return opened;
  };
  afterAll(async () => (await opened)?.dispose());

  it.each(
    formats.map((format) => [`${format.kind} ${JSON.stringify(format)}`, format] as const),
  )('%s', async (_, format) => {
    const [x, bias] = [generator.randn([rows, inner]), generator.randn([out])];
    const parts = someParts(format);
    const g = new GraphBuilder();
    const place = (key: string, { dtype, shape }: Tensor) => g.input(key, dtype, shape);
    const weight = {
      format,
      shape: [out, inner],
      product: 'nbits' as const,
      part: (part: string) => place(part, parts[part]!),
    };
    g.output('y', quantizedProduct(place('x', x), weight, place('bias', bias)));
    const executable = await (await backend()).compile(g.finish());
    const feeds = uploadAll(await backend(), { x, bias, ...parts });
    const { y } = await takeDown(await backend(), await executable.run(feeds));
    disposeTensors(feeds);
    await executable.dispose();

    const products = { times: async () => never(), transposedTimes: async () => never() };
    const w = await decode(parts, format, { columns: inner, products });
    const expected = multiply(matrixOf(x), transpose(w)).data.map((value, i) => value + bias.f32[i % out]!);
    const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    for (const [i, value] of expected.entries()) expect(Math.abs(y!.f32[i]! - value) / scale).toBeLessThan(2e-6);
  });
});

function never(): never {
  throw new Error('is for low-rank formats');
}

it('formats without a product are refused by name', () => {
  const format = { kind: 'int8', scales: 'row', activations: 'row' } as const;
  const nbits = { lowBitProduct: 'nbits' } as Parameters<typeof requireProduct>[2];
  expect(() => requireProduct('blocks.0.attn.to_q.weight', format, nbits)).toThrow(
    /'blocks\.0\.attn\.to_q\.weight' is int8 per row, .* no product for; quantize to 'int4_weight_only'/,
  );
});
