import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setWarningHandler } from '../errors/warnings.ts';
import { GraphBuilder } from '../graph/builder.ts';
import { encodeOnnx } from '../graph/encode.ts';
import type { Graph } from '../graph/graph.ts';
import { peakBytes } from '../graph/memory.ts';
import { floatTensor } from '../tensor/tensor.ts';
import type { Backend } from './backend.ts';
import { createBackend } from './create-backend.ts';
import { runOnce } from './host-tensors.ts';
import { ProgramCache, programBytes } from './program-cache.ts';

/** y = ((x + 1) + 1) + … */
function chain(length: number, adds = 2): Graph {
  const g = new GraphBuilder();
  let x = g.input('x', 'float32', [length]);
  for (let i = 0; i < adds; i++) x = x.add(1);
  g.output('y', x);
  return g.finish();
}

const bytesOf = (graph: Graph) => programBytes(graph, encodeOnnx(graph, { nodeNames: false }).length);
const sum = (graphs: readonly Graph[]) => graphs.reduce((total, graph) => total + bytesOf(graph), 0);

describe('ProgramCache', () => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await createBackend({ threads: 1 });
  });
  afterAll(() => backend.dispose());

  it('shares programs by structure and computes with them', async () => {
    const programs = new ProgramCache(backend);
    const [first, second] = [await programs.program(chain(4)), await programs.program(chain(4))];
    expect(programs.stats).toMatchObject({ size: 1, compiled: 1, hits: 1, evicted: 0 });
    first.release();
    second.release();
    const { y } = await runOnce(programs, chain(4), { inputs: { x: floatTensor([1, 2, 3, 4]) } });
    expect([...y!.data]).toEqual([3, 4, 5, 6]);
    expect(programs.stats).toMatchObject({ size: 1, compiled: 1 });
    await programs.dispose();
    expect(backend.live).toEqual({ tensors: 0, bytes: 0, programs: 0 });
  });

  it('stays within its bytes, giving up what was used longest ago', async () => {
    const graphs = [3, 2, 1].map((length) => chain(length));
    const programs = new ProgramCache(backend, { maxBytes: sum(graphs.slice(0, 2)) });
    const evicted: number[] = [];
    const held = [];
    for (const [i, graph] of graphs.entries())
      held.push(await programs.program(graph, { onEvict: () => evicted.push(i) }));
    expect(evicted).toEqual([0]);
    expect(programs.stats).toMatchObject({ size: 2, bytes: sum(graphs.slice(1)), compiled: 3, evicted: 1 });
    // Who holds it can still use it, and it is freed when it is given back.
    expect(backend.live.programs).toBe(3);
    const x = backend.upload(floatTensor([5, 6, 7]));
    const { y } = await held[0]!.run({ x });
    expect((await backend.download(y!)).data[0]).toBe(7);
    x.dispose();
    y!.dispose();
    for (const program of held) program.release();
    await programs.trim();
    expect(programs.stats).toMatchObject({ size: 0, bytes: 0 });
    await expect.poll(() => backend.live.programs).toBe(0);
  });

  it('keeps one program whatever it takes', async () => {
    const programs = new ProgramCache(backend, { maxBytes: 1 });
    for (const length of [1, 2, 1]) (await programs.program(chain(length))).release();
    expect(programs.stats).toMatchObject({ size: 1, compiled: 3, evicted: 2, recompiled: 1 });
    await programs.dispose();
  });

  it('says so when the limit makes programs come and go', async () => {
    const said: string[] = [];
    const before = setWarningHandler((message) => said.push(message));
    const programs = new ProgramCache(backend, { maxBytes: 1 });
    for (let i = 0; i < 40; i++) (await programs.program(chain(1 + (i % 2)))).release();
    setWarningHandler(before);
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/^maxProgramBytes: .*higher limit/);
    await programs.dispose();
  });

  it('frees what nobody holds on request, and what does not compile at once', async () => {
    const programs = new ProgramCache(backend);
    const [kept, given] = [await programs.program(chain(1)), await programs.program(chain(2))];
    given.release();
    await programs.trim();
    expect(programs.stats.size).toBe(1);
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', [1]);
    g.output('y', g.emit('NoSuchOperator', x, { inputs: [x] }));
    await expect(programs.program(g.finish())).rejects.toThrow(/NoSuchOperator/);
    expect(programs.stats.size).toBe(1);
    kept.release();
    await programs.dispose();
    await expect.poll(() => backend.live.programs).toBe(0);
  });

  it('refuses a limit that is none', () => {
    expect(() => new ProgramCache(backend, { maxBytes: Number.NaN })).toThrow(/maxProgramBytes/);
  });
});

describe('peakBytes', () => {
  it('counts what is alive at once', () => {
    // One value is read while the next is made, however long the chain.
    expect(peakBytes(chain(100, 1))).toBe(400);
    expect(peakBytes(chain(100, 2))).toBe(800);
    expect(peakBytes(chain(100, 9))).toBe(800);
  });

  it('keeps outputs and what is needed later', () => {
    const g = new GraphBuilder();
    const a = g.input('x', 'float32', [100]).add(1);
    const b = a.add(1);
    g.output('b', b);
    g.output('y', b.add(1).add(1).add(a));
    // a and b stay, beside the two of the chain.
    expect(peakBytes(g.finish())).toBe(1600);
  });
});
