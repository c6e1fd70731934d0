/** A graph that is cut computes what it does whole, and its equal parts are equal programs. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Backend, DeviceTensor } from '../runtime/backend.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { disposeTensors } from '../runtime/tensor-table.ts';
import { floatTensor } from '../tensor/tensor.ts';
import { GraphBuilder } from './builder.ts';
import { cutGraph } from './cut.ts';
import { encodeOnnx } from './encode.ts';

let backend: Backend;
beforeAll(async () => {
  backend = await createBackend({ threads: 1 });
});
afterAll(() => backend.dispose());

/** Blocks x → (x + 1)·w + skip, where skip is made before the first block; the mean of the second block's result goes out too. */
function blockGraph(blocks: number) {
  const g = new GraphBuilder();
  let x = g.input('x', 'float32', [2]);
  const skip = x.mul(3);
  for (let i = 0; i < blocks; i++) {
    x = g.scope(`blocks.${i}`, () =>
      x
        .add(1)
        .mul(g.weight(`blocks.${i}.w`, { dtype: 'float32', shape: [2] }))
        .add(skip),
    );
    if (i === 1) g.output('mean', x.mean(0));
  }
  g.output('y', x);
  return g.finish();
}

const blockOf = ({ path }: { path: string }) => (path === '' ? undefined : Number(path.split('.')[1]));

it('sections hand over what later ones need, and drop what nobody needs any more', async () => {
  const sections = cutGraph(blockGraph(4), blockOf);
  expect(sections.map(({ key }) => key)).toEqual([0, 1, 2, 3]);
  expect(sections.map(({ graph }) => graph.weights.map(({ name }) => name))).toEqual(
    [0, 1, 2, 3].map((i) => [`blocks.${i}.w`]),
  );

  const values = new Map<string, DeviceTensor>([['x', backend.upload(floatTensor([1, -2]))]]);
  for (const { graph, inputs, outputs, spent } of sections) {
    const executable = await backend.compile(graph);
    const feeds: Record<string, DeviceTensor> = {};
    for (const [name, value] of inputs) feeds[name] = values.get(value)!;
    for (const { slot, name } of graph.weights) feeds[slot] = backend.upload(floatTensor([Number(name[7]) + 1, 0.5]));
    const results = await executable.run(feeds);
    for (const [name, value] of outputs) values.set(value, results[name]!);
    for (const { slot } of graph.weights) feeds[slot]!.dispose();
    for (const value of spent) {
      values.get(value)?.dispose();
      expect(values.delete(value), value).toBe(true);
    }
    await executable.dispose();
  }
  let y = [1, -2];
  let mean = 0;
  for (let i = 0; i < 4; i++) {
    y = [(y[0]! + 1) * (i + 1) + 3, (y[1]! + 1) * 0.5 - 6];
    if (i === 1) mean = (y[0]! + y[1]!) / 2;
  }
  const { outputs } = blockGraph(4);
  const found = async (name: string) => [...(await backend.download(values.get(outputs.get(name)!.value)!)).data];
  expect(await found('y')).toEqual(y);
  expect(await found('mean')).toEqual([mean]);
  expect([...values.keys()].sort()).toEqual(['x', ...[...outputs.values()].map(({ value }) => value)].sort());
  disposeTensors(values.values());
});

it('equal blocks encode to the same bytes', () => {
  const bytes = cutGraph(blockGraph(5), blockOf).map(({ graph }) =>
    Buffer.from(encodeOnnx(graph, { nodeNames: false })).toString('latin1'),
  );
  // The first makes `skip`, the second also the mean; the third to fifth are alike.
  expect(new Set(bytes).size).toBe(3);
  expect(bytes[3]).toBe(bytes[2]);
});

it('a graph without keys stays whole', () => {
  const graph = blockGraph(3);
  const [section, ...others] = cutGraph(graph, () => undefined);
  expect(others).toEqual([]);
  expect(section!.key).toBeUndefined();
  expect(section!.graph.nodes.map(({ op }) => op)).toEqual(graph.nodes.map(({ op }) => op));
});
