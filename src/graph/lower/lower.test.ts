/** Lowered graphs are run on the CPU, which has every operator, beside the graphs they come from. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Backend } from '../../runtime/backend.ts';
import { createBackend } from '../../runtime/create-backend.ts';
import { takeDown, uploadAll } from '../../runtime/host-tensors.ts';
import { disposeTensors } from '../../runtime/tensor-table.ts';
import { Generator } from '../../tensor/generator.ts';
import { floatTensor, intTensor, type Shape, type Tensor } from '../../tensor/tensor.ts';
import { GraphBuilder } from '../builder.ts';
import type { Graph } from '../graph.ts';
import { layerNormalization, multiHeadAttention } from '../ops.ts';
import type { SymbolicTensor } from '../symbolic.ts';
import { allKernels, type Kernels, lower } from './lower.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await createBackend({ backend: 'cpu', threads: 1 });
});
afterAll(() => backend.dispose());

const few: Kernels = {
  fusedAttention: false,
  broadcastNorm: false,
  trigonometry: false,
  integerSlice: false,
  bfloat16Casts: false,
  maxSplit: 4,
  maxBinding: 2000,
};
const generator = new Generator(5);

async function run(graph: Graph, inputs: Record<string, Tensor>): Promise<Record<string, Tensor>> {
  const executable = await backend.compile(graph);
  const feeds = uploadAll(backend, inputs);
  const outputs = await takeDown(backend, await executable.run(feeds));
  disposeTensors(feeds);
  await executable.dispose();
  return outputs;
}

type Values<T> = Readonly<Record<string, T>>;

/** Runs a graph as it is and lowered, and returns both results and the operators that are left. */
async function both(inputs: Values<Tensor>, build: (values: Values<SymbolicTensor>) => SymbolicTensor) {
  const g = new GraphBuilder();
  const values = Object.entries(inputs).map(([name, { dtype, shape }]) => [name, g.input(name, dtype, shape)]);
  g.output('y', build(Object.fromEntries(values)));
  const graph = g.finish();
  const lowered = lower(graph, few);
  const [before, after] = [await run(graph, inputs), await run(lowered, inputs)];
  return { before: before.y!, after: after.y!, ops: lowered.nodes.map(({ op }) => op) };
}

function expectClose(actual: Tensor, expected: Tensor, tolerance = 2e-6): void {
  expect(actual.shape).toEqual(expected.shape);
  for (const [i, value] of expected.f32.entries()) expect(Math.abs(actual.f32[i]! - value)).toBeLessThan(tolerance);
}

describe('attention', () => {
  const attend = (shapes: { query: Shape; key: Shape; bias?: Shape }, numHeads: number, scale?: number) => {
    const inputs: Record<string, Tensor> = {
      query: generator.randn(shapes.query),
      key: generator.randn(shapes.key),
      value: generator.randn(shapes.key),
    };
    if (shapes.bias) inputs.bias = generator.randn(shapes.bias);
    return both(inputs, ({ query, key, value, bias }) =>
      multiHeadAttention({ query: query!, key: key!, value: value!, bias, numHeads, ...(scale ? { scale } : {}) }),
    );
  };

  it('is products and a softmax, for as many queries at a time as a binding holds', async () => {
    const { before, after, ops } = await attend({ query: [2, 33, 24], key: [2, 9, 24] }, 3);
    expectClose(after, before);
    // 2 · 3 · 9 scores of 4 bytes: 9 queries are 1944 bytes.
    expect(ops.filter((op) => op === 'Softmax')).toHaveLength(4);
    expect(ops).not.toContain('MultiHeadAttention');
  });

  it.each<[string, Shape]>([
    ['of all', [2, 3, 33, 9]],
    ['shared by samples and heads', [1, 1, 33, 9]],
  ])('adds a bias %s', async (_, bias) => {
    const { before, after } = await attend({ query: [2, 33, 24], key: [2, 9, 24], bias }, 3, 0.3);
    expectClose(after, before);
  });
});

it('norms have scales and biases of their own for samples and tokens', async () => {
  const inputs = { x: generator.randn([2, 5, 8]), scale: generator.randn([2, 1, 8]), bias: generator.randn([2, 5, 8]) };
  const { before, after, ops } = await both(inputs, ({ x, scale, bias }) =>
    layerNormalization(x!, { epsilon: 1e-6, scale, bias }),
  );
  expectClose(after, before);
  expect(ops.slice(-2)).toEqual(['Mul', 'Add']);
  const plain = await both({ x: inputs.x, scale: generator.randn([8]) }, ({ x, scale }) =>
    layerNormalization(x!, { epsilon: 1e-6, scale }),
  );
  expect(plain.ops).toEqual(['LayerNormalization']);
});

it('what is split into many parts is sliced', async () => {
  const { before, after, ops } = await both({ x: generator.randn([2, 12]) }, ({ x }) => {
    const parts = x!.split(1, [1, 2, 3, 2, 4]);
    return parts[3].add(parts[1]).mul(parts[4].slice(1, 1, 3));
  });
  expect([...after.f32]).toEqual([...before.f32]);
  expect(ops).not.toContain('Split');
  expect((await both({ x: generator.randn([2, 12]) }, ({ x }) => x!.split(1, 4)[2]!.neg())).ops).toContain('Split');
});

it.each([
  [0, 2],
  [1, 4],
  [3, 5],
])('integers %i to %i are part of a split', async (from, to) => {
  const x = intTensor([3, 1, 4, 1, 5, 9, 2, 6, 5, 3], [2, 5]);
  const { before, after, ops } = await both({ x }, ({ x }) => x!.slice(1, from, to));
  expect([...after.data]).toEqual([...before.data]);
  expect(ops).toEqual(['Split']);
});

it('rounding to bfloat16 is arithmetic', async () => {
  const { before, after, ops } = await both({ x: generator.randn([500]) }, ({ x }) =>
    x!.cast('bfloat16').cast('float32'),
  );
  expect([...after.f32]).toEqual([...before.f32]);
  expect(ops).toEqual(['Mul', 'Sub', 'Sub']);
});

it.each(['sin', 'cos'] as const)('%s is right to float32 at all angles of timesteps', async (name) => {
  const angles = Float32Array.from({ length: 4000 }, (_, i) => (i < 100 ? (i - 50) * (Math.PI / 4) : (i - 2000) / 1.7));
  const { after, ops } = await both({ x: floatTensor(angles) }, ({ x }) => x![name]());
  const expected = angles.map((angle) => Math[name](angle));
  expectClose(after, floatTensor(expected), 3e-7);
  expect(ops).not.toContain(name === 'sin' ? 'Sin' : 'Cos');
});

it('changes nothing for a device that has all kernels, and keeps names', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', [1, 4]);
  g.weight('unused', { dtype: 'float32', shape: [1] });
  const w = g.weight('a', { dtype: 'float32', shape: [1, 4] });
  g.output('y', x.mul(w).sin());
  const graph = g.finish();
  expect(lower(graph, allKernels)).toBe(graph);
  const lowered = lower(graph, few);
  expect(lowered.weights).toEqual([{ slot: 'w1', name: 'a', dtype: 'float32', shape: [1, 4] }]);
  expect([...lowered.inputs.keys()]).toEqual(['x']);
  expect([...lowered.outputs.keys()]).toEqual(['y']);
  expect(lowered.flops).toBe(graph.flops);
});
