/** Whether a backend multiplies 8-bit numbers without loss. */
import { GraphBuilder } from '../../graph/builder.ts';
import { dynamicQuantizeMatMul } from '../../graph/ops.ts';
import { floatTensor, Tensor } from '../../tensor/tensor.ts';
import { runTrial, type Trial } from './trial.ts';

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
export async function isSignedProductExact(backend: Trial): Promise<boolean> {
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
  const results = await runTrial(backend, g.finish(), feeds);
  return sizes.every(([, inner, out], i) =>
    results[`y${i}`]!.f32.every((value, at) => {
      const expected = inner * codes[(at % out) % codes.length]!;
      return Math.abs(value / expected - 1) < 1e-5;
    }),
  );
}
