/** The contract of `Backend`, held by every implementation. Expected values are computed in plain JavaScript. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GraphBuilder } from '../graph/builder.ts';
import type { Graph } from '../graph/graph.ts';
import * as ops from '../graph/ops.ts';
import { Generator } from '../tensor/generator.ts';
import { floatTensor, intTensor, Tensor } from '../tensor/tensor.ts';
import type { Backend } from './backend.ts';
import { createBackend } from './create-backend.ts';
import { ProgramCache } from './program-cache.ts';

const backends = {
  cpu: { backend: 'cpu' },
  wasm: { backend: 'wasm' },
  'cpu in a worker': { backend: 'cpu', worker: true },
} as const;

/** y = x·wᵀ + b */
function linearGraph(rows: number): Graph {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', [rows, 3]);
  const w = g.weight('layer.weight', { dtype: 'float32', shape: [2, 3] });
  const b = g.weight('layer.bias', { dtype: 'float32', shape: [2] });
  g.output('y', ops.gemm(x, w, b));
  return g.finish();
}

describe.each(Object.entries(backends))('%s', (_name, options) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await createBackend(options);
  });
  afterAll(() => backend.dispose());

  const run = async (graph: Graph, inputs: Record<string, Tensor>) => {
    const executable = await backend.compile(graph);
    const feeds = Object.fromEntries(Object.entries(inputs).map(([key, tensor]) => [key, backend.upload(tensor)]));
    const outputs = await executable.run(feeds);
    const host = await Promise.all(
      Object.entries(outputs).map(async ([key, tensor]) => [key, await backend.download(tensor)] as const),
    );
    await executable.dispose();
    return Object.fromEntries(host);
  };

  it('runs a graph with its weights as inputs', async () => {
    const { y } = await run(linearGraph(1), {
      x: floatTensor([1, 2, 3], [1, 3]),
      w0: floatTensor([1, 0, 0, 0, 1, 1], [2, 3]),
      w1: floatTensor([10, 20]),
    });
    expect(y).toMatchObject({ dtype: 'float32', shape: [1, 2] });
    expect([...y!.data]).toEqual([11, 25]);
  });

  it('feeds a result to the next run without a download', async () => {
    const g = new GraphBuilder();
    g.output('y', g.input('x', 'float32', [2]).mul(2));
    const executable = await backend.compile(g.finish());
    let x = backend.upload(floatTensor([1, -3]));
    for (let i = 0; i < 3; i++) x = (await executable.run({ x })).y!;
    expect([...(await backend.download(x)).data]).toEqual([8, -24]);
  });

  it('takes bfloat16 weights as their bits', async () => {
    const g = new GraphBuilder();
    const bits = g.input('x', 'uint16', [3]);
    const narrow = g.emit('BitCast', { dtype: 'bfloat16', shape: [3] }, { inputs: [bits], attributes: { to: 16 } });
    g.output('y', narrow.cast('float32'));
    const { y } = await run(g.finish(), { x: new Tensor('bfloat16', Uint16Array.of(0x3f80, 0xc000, 0x4049), [3]) });
    expect([...y!.data]).toEqual([1, -2, 3.140625]);
  });

  it('computes the fused operators as their definitions say', async () => {
    const generator = new Generator(1);
    const [query, key, value] = [generator.randn([1, 5, 8]), generator.randn([1, 7, 8]), generator.randn([1, 7, 8])];
    const g = new GraphBuilder();
    const q = g.input('q', 'float32', [1, 5, 8]);
    const k = g.input('k', 'float32', [1, 7, 8]);
    const v = g.input('v', 'float32', [1, 7, 8]);
    g.output('attention', ops.multiHeadAttention({ query: q, key: k, value: v, numHeads: 2 }));
    const heads = (x: typeof q) => x.reshape([1, x.dim(1), 2, 4]).transpose([0, 2, 1, 3]);
    const scores = heads(q)
      .matmul(heads(k).transpose([0, 1, 3, 2]))
      .mul(0.5)
      .softmax();
    g.output('explicit', scores.matmul(heads(v)).transpose([0, 2, 1, 3]).reshape([1, 5, 8]));
    g.output('silu', q.silu());
    g.output('sigmoid', q.mul(q.sigmoid()));
    g.output('rms', ops.rmsNormalization(q, { epsilon: 1e-6 }));
    g.output('root', q.div(q.mul(q).mean(-1).add(1e-6).sqrt()));
    const y = await run(g.finish(), { q: query, k: key, v: value });
    for (const [fused, plain] of [
      ['attention', 'explicit'],
      ['silu', 'sigmoid'],
      ['rms', 'root'],
    ] as const) {
      for (const [i, expected] of (y[plain]!.data as Float32Array).entries())
        expect(y[fused]!.data[i]).toBeCloseTo(expected, 5);
    }
  });

  it('names the operator when a graph is rejected', async () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', [2]);
    g.scope('blocks.3.attn', () => g.output('y', g.emit('NoSuchOperator', x, { inputs: [x] })));
    await expect(backend.compile(g.finish())).rejects.toThrow(
      expect.objectContaining({ code: 'RUNTIME', message: expect.stringMatching(/NoSuchOperator/) }),
    );
  });

  it('says which input is missing', async () => {
    const executable = await backend.compile(linearGraph(1));
    await expect(executable.run({ x: backend.upload(floatTensor([1, 2, 3], [1, 3])) })).rejects.toThrow(
      /input 'w0' is missing/,
    );
  });

  it('keeps int64 exact', async () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'int64', [2]);
    g.output('y', x.add(x));
    const { y } = await run(g.finish(), { x: intTensor([2 ** 52 + 1, -7]) });
    expect([...y!.data]).toEqual([2n * (2n ** 52n + 1n), -14n]);
  });
});

describe('ProgramCache', () => {
  it('shares programs by structure, evicts the oldest, and compiles again when needed', async () => {
    const backend = await createBackend();
    const programs = new ProgramCache(backend, 2);
    const inputs = (rows: number) => ({
      x: backend.upload(floatTensor(new Float32Array(rows * 3).fill(1), [rows, 3])),
      w0: backend.upload(floatTensor([1, 2, 3, 4, 5, 6], [2, 3])),
      w1: backend.upload(floatTensor([0, 0])),
    });
    const first = await programs.program(linearGraph(1));
    await programs.program(linearGraph(1));
    expect(programs.stats).toMatchObject({ size: 1, compiled: 1, hits: 1 });
    await programs.program(linearGraph(2));
    await programs.program(linearGraph(3));
    expect(programs.stats).toMatchObject({ size: 2, compiled: 3, evicted: 1 });
    const { y } = await first.run(inputs(1));
    expect([...(await backend.download(y!)).data]).toEqual([6, 15]);
    expect(programs.stats).toMatchObject({ compiled: 4, evicted: 2 });
    await backend.dispose();
  });
});
