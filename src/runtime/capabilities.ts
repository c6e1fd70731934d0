/**
 * What a backend can do, found by trying it: a few tiny products when it is created. Processor flags would say what a library might
 * use, a product says what it does.
 */
import { GraphBuilder } from '../graph/builder.ts';
import { dynamicQuantizeMatMul } from '../graph/ops.ts';
import { floatTensor, Tensor } from '../tensor/tensor.ts';
import type { Backend, BackendCapabilities, BackendOptions } from './backend.ts';

/**
 * @param wanted the product to use; default: the faster one, unsigned activations with signed weights, where it is exact
 */
export async function findCapabilities(
  backend: Pick<Backend, 'compile' | 'upload' | 'download'>,
  wanted: BackendOptions['int8Product'],
): Promise<BackendCapabilities> {
  const signedWeightsExact = await isSignedProductExact(backend);
  return { signedWeightsExact, int8Product: wanted ?? (signedWeightsExact ? 'u8s8' : 'u8u8') };
}

/** Weights of a column. Two products of 255 with 65 are the least that 16 bits cannot hold. */
const codes = [65, 127, -65, -127];
/** [rows, inner, out]: a single row has kernels of its own, and sizes that no register divides have others. */
const sizes = [
  [1, 64, 32],
  [3, 31, 5],
  [9, 130, 48],
] as const;

/**
 * Whether uint8 activations times int8 weights are summed without loss. Processors without VNNI add pairs of products in 16 bits,
 * where what is too large becomes the largest number there is.
 */
async function isSignedProductExact(backend: Pick<Backend, 'compile' | 'upload' | 'download'>): Promise<boolean> {
  const g = new GraphBuilder();
  const feeds: Record<string, Tensor> = { scale: floatTensor([1]) };
  const scale = g.input('scale', 'float32', [1]);
  for (const [i, [rows, inner, out]] of sizes.entries()) {
    // All ones become the code 255, with a zero point of 0.
    feeds[`x${i}`] = floatTensor(new Float32Array(rows * inner).fill(1), [rows, inner]);
    const weight = Int8Array.from({ length: inner * out }, (_, at) => codes[(at % out) % codes.length]!);
    feeds[`w${i}`] = new Tensor('int8', weight, [inner, out]);
    const x = g.input(`x${i}`, 'float32', [rows, inner]);
    g.output(`y${i}`, dynamicQuantizeMatMul(x, { codes: g.input(`w${i}`, 'int8', [inner, out]), scale }));
  }
  const executable = await backend.compile(g.finish());
  try {
    const inputs = Object.entries(feeds).map(([name, tensor]) => [name, backend.upload(tensor)] as const);
    const outputs = await executable.run(Object.fromEntries(inputs));
    const exact = await Promise.all(
      sizes.map(async ([, inner, out], i) => {
        const { data } = await backend.download(outputs[`y${i}`]!);
        return (data as Float32Array).every((value, at) => {
          const expected = inner * codes[(at % out) % codes.length]!;
          return Math.abs(value / expected - 1) < 1e-5;
        });
      }),
    );
    for (const [, tensor] of inputs) tensor.dispose();
    for (const tensor of Object.values(outputs)) tensor.dispose();
    return exact.every(Boolean);
  } finally {
    await executable.dispose();
  }
}
