/** What WebGPU needs beside the contract of backends (`backend.test.ts`): numbers that are right, and a process that lives and ends. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasWebGpu } from '../../tests/webgpu.ts';
import { GraphBuilder } from '../graph/builder.ts';
import type { Graph } from '../graph/graph.ts';
import { conv, layerNormalization, multiHeadAttention } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { Generator } from '../tensor/generator.ts';
import { floatTensor, type Shape, type Tensor } from '../tensor/tensor.ts';
import type { Backend, DeviceTensor } from './backend.ts';
import { createBackend } from './create-backend.ts';
import { takeDown, uploadAll } from './host-tensors.ts';
import { disposeTensors } from './tensor-table.ts';

function times(factor: number, length = 1000): Graph {
  const g = new GraphBuilder();
  g.output('y', g.input('x', 'float32', [length]).mul(factor));
  return g.finish();
}

describe.runIf(hasWebGpu)('webgpu', () => {
  let gpu: Backend;
  let cpu: Backend;
  beforeAll(async () => {
    [gpu, cpu] = [await createBackend({ backend: 'webgpu' }), await createBackend({ backend: 'cpu', threads: 1 })];
  });
  afterAll(() => Promise.all([gpu.dispose(), cpu.dispose()]));

  const generator = new Generator(3);
  const runOn = async (backend: Backend, graph: Graph, inputs: Record<string, Tensor>) => {
    const executable = await backend.compile(graph);
    const feeds = uploadAll(backend, inputs);
    const { y } = await takeDown(backend, await executable.run(feeds));
    disposeTensors(feeds);
    await executable.dispose();
    return y!;
  };
  const expectAsOnCpu = async (
    shapes: Record<string, Shape>,
    build: (x: Readonly<Record<string, SymbolicTensor>>) => SymbolicTensor,
  ) => {
    const inputs = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, generator.randn(shape)]));
    const g = new GraphBuilder();
    const values = Object.entries(shapes).map(([name, shape]) => [name, g.input(name, 'float32', shape)]);
    g.output('y', build(Object.fromEntries(values)));
    const graph = g.finish();
    const [actual, expected] = [await runOn(gpu, graph, inputs), await runOn(cpu, graph, inputs)];
    const scale = expected.f32.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    for (const [i, value] of expected.f32.entries())
      expect(Math.abs(actual.f32[i]! - value)).toBeLessThan(1e-5 * scale);
  };

  it.each([
    [64, 64, 32],
    [33, 257, 48],
    [300, 300, 64],
  ])('attention of %i to %i tokens is right', async (queries, keys, headDim) => {
    await expectAsOnCpu(
      { query: [2, queries, 3 * headDim], key: [2, keys, 3 * headDim], value: [2, keys, 3 * headDim] },
      ({ query, key, value }) => multiHeadAttention({ query: query!, key: key!, value: value!, numHeads: 3 }),
    );
  });

  it.each([6, 9, 15, 18, 21, 32])('a convolution of %i channels is right', async (channels) => {
    await expectAsOnCpu({ x: [1, channels, 12, 10], weight: [16, channels, 3, 3], bias: [16] }, ({ x, weight, bias }) =>
      conv(x!, { weight: weight!, bias, padding: 1 }),
    );
  });

  it('norms differ between samples and tokens, and what is split has many parts', async () => {
    await expectAsOnCpu({ x: [2, 7, 48], modulation: [2, 1, 9 * 48] }, ({ x, modulation }) => {
      const [scale, bias, ...others] = modulation!.split(2, 9);
      const y = layerNormalization(x!, { epsilon: 1e-6, scale, bias });
      return others.reduce((sum, part) => sum.add(part), y);
    });
  });

  it('keeps sines of timesteps to float32', async () => {
    const angles = Float32Array.from({ length: 512 }, (_, i) => 1000 * Math.exp(-i / 60));
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', [512]);
    g.output('y', x.sin().add(x.cos().mul(2)));
    const { f32 } = await runOn(gpu, g.finish(), { x: floatTensor(angles) });
    for (const [i, angle] of angles.entries()) expect(f32[i]).toBeCloseTo(Math.sin(angle) + 2 * Math.cos(angle), 5);
  });

  it('keeps results beyond the programs that made them', async () => {
    const before = { ...gpu.live };
    const x = gpu.upload(floatTensor(new Float32Array(1000).fill(1)));
    const results: DeviceTensor[] = [];
    for (let factor = 2; factor < 32; factor++) {
      const executable = await gpu.compile(times(factor));
      results.push((await executable.run({ x })).y!);
      await executable.dispose();
      if (factor % 3 === 0) results.splice(results.length >> 1, 1)[0]!.dispose();
    }
    expect((await gpu.download(results[0]!)).data[999]).toBe(2);
    disposeTensors([x, ...results]);
    expect(gpu.live).toEqual(before);
  });

  it('frees tensors after their backend, while another one computes', async () => {
    const own = await createBackend({ backend: 'webgpu' });
    const x = own.upload(floatTensor([1, 2]));
    await own.download(x);
    await own.dispose();
    const next = gpu.upload(floatTensor([5]));
    x.dispose();
    expect(own.live.tensors).toBe(0);
    expect([...(await takeDown(gpu, { next })).next!.data]).toEqual([5]);
  });

  it('is for one thread of the process', async () => {
    const refusal = expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringMatching(/one thread only/) });
    await expect(createBackend({ backend: 'webgpu', worker: true })).rejects.toThrow(refusal);
  });

  it('refuses options of processors, and names an operator that it has no kernel for', async () => {
    await expect(createBackend({ backend: 'webgpu', threads: 2 })).rejects.toThrow(/threads.*has no effect/);
    const g = new GraphBuilder();
    const x = g.input('x', 'int64', [2]);
    g.output('y', x.add(x));
    await expect(gpu.compile(g.finish())).rejects.toThrow(/no kernel for one of Add/);
  });

  it("is what 'auto' takes, and says so", async () => {
    await using best = await createBackend({ backend: 'auto' });
    expect(best.name).toBe('webgpu');
  });
});

const ends = {
  'with everything still there': ['', 0],
  'by process.exit in a run': ['executable.run({ x }); process.exit(3);', 3],
  'by an error in a run': ["executable.run({ x }); throw new Error('enough');", 1],
  'with the backend disposed first': ['await backend.dispose(); y.dispose(); x.dispose();', 0],
  'with garbage collected': ['await executable.dispose(); await backend.dispose(); globalThis.gc();', 0],
} as const;

describe.runIf(hasWebGpu)('a process ends as it should', () => {
  it.each(Object.entries(ends))('%s', (_, [last, status]) => {
    const dist = path.resolve(import.meta.dirname, '../../dist');
    const script = `
      const { createBackend } = await import(${JSON.stringify(path.join(dist, 'runtime/create-backend.js'))});
      const { GraphBuilder } = await import(${JSON.stringify(path.join(dist, 'graph/builder.js'))});
      const { floatTensor } = await import(${JSON.stringify(path.join(dist, 'tensor/tensor.js'))});
      const g = new GraphBuilder();
      g.output('y', g.input('x', 'float32', [2]).mul(2));
      const backend = await createBackend({ backend: 'webgpu' });
      const executable = await backend.compile(g.finish());
      const x = backend.upload(floatTensor([1, 2]));
      const { y } = await executable.run({ x });
      console.log([...(await backend.download(y)).data].join());
      ${last}`;
    const child = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    expect(child.stdout.trim().split('\n').at(-1)).toBe('2,4');
    expect({ status: child.status, signal: child.signal }).toEqual({ status, signal: null });
  });
});
