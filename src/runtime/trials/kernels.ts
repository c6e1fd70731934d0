/**
 * Whether a GPU computes right, against results of the host. ONNX Runtime 1.30 has two kernels that give wrong numbers without a word on
 * some drivers: fused attention from 32 tokens on, and convolutions of certain widths.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { GraphBuilder } from '../../graph/builder.ts';
import { allKernels, lower } from '../../graph/lower/lower.ts';
import { conv, multiHeadAttention } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { Generator } from '../../tensor/generator.ts';
import type { Shape, Tensor } from '../../tensor/tensor.ts';
import { runTrial, type Trial } from './trial.ts';

/** Largest error that is rounding, of values around 1. */
const tolerance = { float32: 1e-4, float16: 2e-2 };

/** More tokens than any kernel works on at a time, and no multiple of it. */
const attentionShape: Shape = [1, 72, 96];
const heads = 2;

/** Attention as one operator. False also where the device does not have it. */
export async function isFusedAttentionRight(backend: Trial): Promise<boolean> {
  try {
    return await isAttentionRight(backend, true);
  } catch {
    return false;
  }
}

/** Products and a softmax, of which all else is made. @throws DejaDitError UNSUPPORTED if they are wrong */
export async function checkProducts(backend: Trial): Promise<void> {
  if (!(await isAttentionRight(backend, false))) throw wrong('matrix products');
}

/** @throws DejaDitError UNSUPPORTED if it is wrong */
export async function checkConvolution(backend: Trial): Promise<void> {
  for (const channels of [6, 16]) {
    const [x, weight] = randn([1, channels, 9, 8], [16, channels, 3, 3]);
    const results = await computed(backend, { x: x!, weight: weight! }, ({ x, weight }) =>
      conv(x!, { weight: weight!, padding: 1 }),
    );
    if (!isClose(results, convolution(x!, weight!))) throw wrong('convolutions');
  }
}

export async function computesFloat16(backend: Trial): Promise<boolean> {
  const [a, b] = randn([5, 64], [64, 33]);
  try {
    const results = await computed(backend, { a: a!, b: b! }, ({ a, b }) =>
      a!.cast('float16').matmul(b!.cast('float16')).cast('float32'),
    );
    const [rows, inner, columns] = [5, 64, 33];
    const expected = Float32Array.from({ length: rows * columns }, (_, at) => {
      const [row, column] = [Math.floor(at / columns), at % columns];
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += a!.f32[row * inner + k]! * b!.f32[k * columns + column]!;
      return sum;
    });
    return isClose(results, expected, tolerance.float16 * Math.sqrt(inner));
  } catch {
    return false;
  }
}

async function isAttentionRight(backend: Trial, fusedAttention: boolean): Promise<boolean> {
  const [query, key, value] = randn(attentionShape, attentionShape, attentionShape);
  const results = await computed(
    backend,
    { query: query!, key: key!, value: value! },
    ({ query, key, value }) => multiHeadAttention({ query: query!, key: key!, value: value!, numHeads: heads }),
    fusedAttention,
  );
  return isClose(results, attention(query!.f32, key!.f32, value!.f32));
}

async function computed(
  backend: Trial,
  inputs: Readonly<Record<string, Tensor>>,
  build: (inputs: Readonly<Record<string, SymbolicTensor>>) => SymbolicTensor,
  fusedAttention = true,
): Promise<Float32Array> {
  const g = new GraphBuilder();
  const values = Object.entries(inputs).map(([name, { dtype, shape }]) => [name, g.input(name, dtype, shape)]);
  g.output('y', build(Object.fromEntries(values)));
  const { y } = await runTrial(backend, lower(g.finish(), { ...allKernels, fusedAttention }), inputs);
  return y!.f32;
}

function attention(query: Float32Array, key: Float32Array, value: Float32Array): Float32Array {
  const [, tokens, width] = attentionShape as [number, number, number];
  const headDim = width / heads;
  const out = new Float32Array(tokens * width);
  for (let head = 0; head < heads; head++) {
    const at = (token: number, i: number) => token * width + head * headDim + i;
    for (let q = 0; q < tokens; q++) {
      const scores = Float64Array.from({ length: tokens }, (_, k) => {
        let dot = 0;
        for (let i = 0; i < headDim; i++) dot += query[at(q, i)]! * key[at(k, i)]!;
        return Math.exp(dot / Math.sqrt(headDim));
      });
      const total = scores.reduce((sum, score) => sum + score, 0);
      for (let i = 0; i < headDim; i++)
        out[at(q, i)] = scores.reduce((sum, score, k) => sum + score * value[at(k, i)]!, 0) / total;
    }
  }
  return out;
}

/** 3×3, padded by 1. */
function convolution(x: Tensor, weight: Tensor): Float32Array {
  const [, channels, height, width] = x.shape as [number, number, number, number];
  const outChannels = weight.dim(0);
  const out = new Float32Array(outChannels * height * width);
  for (let at = 0; at < out.length; at++) {
    const [o, row, column] = [Math.floor(at / (height * width)), Math.floor(at / width) % height, at % width];
    for (let c = 0; c < channels; c++) {
      for (let k = 0; k < 9; k++) {
        const [i, j] = [row + Math.floor(k / 3) - 1, column + (k % 3) - 1];
        if (i < 0 || j < 0 || i >= height || j >= width) continue;
        out[at]! += x.f32[(c * height + i) * width + j]! * weight.f32[(o * channels + c) * 9 + k]!;
      }
    }
  }
  return out;
}

function isClose(actual: Float32Array, expected: Float32Array, bound = tolerance.float32): boolean {
  return actual.length === expected.length && actual.every((value, i) => Math.abs(value - expected[i]!) < bound);
}

function randn(...shapes: Shape[]): Tensor[] {
  const generator = new Generator(1);
  return shapes.map((shape) => generator.randn(shape));
}

function wrong(what: string): DejaDitError {
  return new DejaDitError(
    'UNSUPPORTED',
    `this GPU or its driver computes ${what} wrong, so it is not used; update the driver, or use backend 'cpu'`,
    { path: 'webgpu' },
  );
}
