/** The contract of `Backend`, held by every implementation. Expected values are computed in plain JavaScript. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasWebGpu } from '../../tests/webgpu.ts';
import { GraphBuilder } from '../graph/builder.ts';
import type { Graph } from '../graph/graph.ts';
import * as ops from '../graph/ops.ts';
import { Generator } from '../tensor/generator.ts';
import { floatTensor, intTensor, Tensor } from '../tensor/tensor.ts';
import type { Backend } from './backend.ts';
import { createBackend } from './create-backend.ts';
import { takeDown } from './host-tensors.ts';
import { disposeTensors } from './tensor-table.ts';

const backends = {
  cpu: { backend: 'cpu' },
  wasm: { backend: 'wasm' },
  'cpu in a worker': { backend: 'cpu', worker: true },
  ...(hasWebGpu ? { webgpu: { backend: 'webgpu' } as const } : {}),
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

/** y = 2x */
function doubling(length: number): Graph {
  const g = new GraphBuilder();
  const y = g.input('x', 'float32', [length]).mul(2);
  g.output('y', y);
  g.output('again', y);
  return g.finish();
}

const disposed = expect.objectContaining({ code: 'DISPOSED' });

describe.each(Object.entries(backends))('%s', (_name, options) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await createBackend(options);
  });
  afterAll(() => backend.dispose());

  const run = async (graph: Graph, inputs: Record<string, Tensor>) => {
    const executable = await backend.compile(graph);
    const feeds = Object.fromEntries(Object.entries(inputs).map(([key, tensor]) => [key, backend.upload(tensor)]));
    const host = await takeDown(backend, await executable.run(feeds));
    disposeTensors(feeds);
    await executable.dispose();
    return host;
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
    for (let i = 0; i < 3; i++) {
      const { y } = await executable.run({ x });
      x.dispose();
      x = y!;
    }
    const { result } = await takeDown(backend, { result: x });
    expect([...result!.data]).toEqual([8, -24]);
    await executable.dispose();
  });

  it('takes bfloat16 weights as their bits', async () => {
    const g = new GraphBuilder();
    const bits = g.input('x', 'uint16', [3]);
    const narrow = g.emit('BitCast', { dtype: 'bfloat16', shape: [3] }, { inputs: [bits], attributes: { to: 16 } });
    g.output('y', narrow.cast('float32'));
    if (!backend.capabilities.narrowFloats) {
      await expect(backend.compile(g.finish())).rejects.toThrow(/no kernel for one of BitCast, Cast/);
      return;
    }
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
      for (const [i, expected] of y[plain]!.f32.entries()) expect(y[fused]!.data[i]).toBeCloseTo(expected, 5);
    }
  });

  it('counts what is alive, memory that is shared once', async () => {
    const before = { ...backend.live };
    const executable = await backend.compile(doubling(256));
    const x = backend.upload(floatTensor(new Float32Array(256).fill(3)));
    const { y, again } = await executable.run({ x });
    const third = y!.retain();
    const now = { tensors: before.tensors + 4, bytes: before.bytes + 3072, programs: before.programs + 1 };
    expect(backend.live).toEqual(now);
    disposeTensors([y, again, x]);
    // Once more does nothing.
    y!.dispose();
    expect(backend.live).toEqual({ ...now, tensors: before.tensors + 1, bytes: before.bytes + 1024 });
    expect((await backend.download(third)).data[255]).toBe(6);
    third.dispose();
    await executable.dispose();
    await executable.dispose();
    expect(backend.live).toEqual(before);
  });

  it('refuses what has been disposed', async () => {
    const executable = await backend.compile(doubling(2));
    const x = backend.upload(floatTensor([1, 2]));
    const gone = x.retain();
    gone.dispose();
    await expect(executable.run({ x: gone })).rejects.toThrow(disposed);
    await expect(backend.download(gone)).rejects.toThrow(disposed);
    expect(() => gone.retain()).toThrow(disposed);
    await executable.dispose();
    await expect(executable.run({ x })).rejects.toThrow(disposed);
    x.dispose();
  });

  it('lets inputs and programs be disposed during a run', async () => {
    const executable = await backend.compile(doubling(2));
    const x = backend.upload(floatTensor([1, 2]), { transfer: true });
    const run = executable.run({ x });
    x.dispose();
    await executable.dispose();
    const { y, again } = await run;
    again!.dispose();
    expect([...(await takeDown(backend, { y: y! })).y!.data]).toEqual([2, 4]);
  });

  it("refuses another backend's tensor", async () => {
    await using other = await createBackend();
    const executable = await backend.compile(doubling(2));
    const x = other.upload(floatTensor([1, 2]));
    await expect(executable.run({ x })).rejects.toThrow(/another backend/);
    x.dispose();
    await executable.dispose();
  });

  it('is disposed at any moment: what is under way ends as DISPOSED, or with its last run', async () => {
    const own = await createBackend(options);
    const executable = await own.compile(doubling(64));
    const x = own.upload(floatTensor(new Float32Array(64)));
    const outcomes = Promise.allSettled(
      Array.from({ length: 8 }, async () => {
        disposeTensors(await executable.run({ x }));
        await own.compile(doubling(65));
      }),
    );
    await own.dispose();
    for (const outcome of await outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: disposed });
    expect(own.closed).toBe(true);
    for (const use of [() => own.compile(doubling(2)), () => executable.run({ x }), () => own.download(x)])
      await expect(use()).rejects.toThrow(disposed);
    expect(() => own.upload(floatTensor([1]))).toThrow(disposed);
    x.dispose();
    await executable.dispose();
    await own.dispose();
    expect(own.live).toEqual({ tensors: 0, bytes: 0, programs: 0 });
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
    const x = backend.upload(floatTensor([1, 2, 3], [1, 3]));
    await expect(executable.run({ x })).rejects.toThrow(/input 'w0' is missing/);
    x.dispose();
    await executable.dispose();
  });

  it('keeps int64 exact, and picks rows by it', async () => {
    const g = new GraphBuilder();
    const table = g.input('table', 'float32', [4, 2]);
    g.output('y', ops.gather(table, g.input('rows', 'int64', [2])));
    const { y } = await run(g.finish(), {
      table: floatTensor([0, 1, 2, 3, 4, 5, 6, 7], [4, 2]),
      rows: intTensor([3, 1]),
    });
    expect([...y!.data]).toEqual([6, 7, 2, 3]);
    const { x } = await takeDown(backend, { x: backend.upload(intTensor([2 ** 52 + 1, -7])) });
    expect([...x!.data]).toEqual([2n ** 52n + 1n, -7n]);
  });
});

it('WebAssembly has one thread outside of pages, and says so', async () => {
  await expect(createBackend({ backend: 'wasm', threads: 2 })).rejects.toThrow(
    /^threads: .*one thread outside of pages/,
  );
});
