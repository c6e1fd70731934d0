import { expect, it } from 'vitest';
import { GraphBuilder } from '../graph/builder.ts';
import { createBackend } from '../runtime/create-backend.ts';
import { takeDown, uploadAll } from '../runtime/host-tensors.ts';
import { disposeTensors } from '../runtime/tensor-table.ts';
import { floatTensor } from '../tensor/tensor.ts';
import { Module } from './module.ts';
import { groupNorm } from './norms.ts';

it('groupNorm keeps its digits over the pixels of a large image', async () => {
  const shape = [1, 2, 1024, 1024];
  const [half, size] = [2 ** 20, 2 ** 21];
  // One group of two channels, far from zero, with a spread of 1.
  const x = Float32Array.from({ length: size }, (_, i) => 5 + 2 * Math.sin(i * 1.7) ** 3 + (i < half ? 0.5 : -0.5));
  const [weight, bias] = [floatTensor([2, 0.5]), floatTensor([0.25, -1])];

  const graph = new GraphBuilder();
  const catalog = { origin: 'test', has: () => true, info: () => ({ dtype: 'float32' as const, shape: [2] }) };
  graph.output('y', groupNorm(new Module(graph, catalog, 'norm'), graph.input('x', 'float32', shape), 1, 1e-6));
  const backend = await createBackend();
  const executable = await backend.compile(graph.finish());
  const feeds = { x: floatTensor(x, shape), w0: weight, w1: bias };
  const uploaded = uploadAll(backend, feeds);
  const { y } = await takeDown(backend, { y: (await executable.run(uploaded)).y! });
  const actual = y!.f32;
  disposeTensors(uploaded);
  await backend.dispose();

  // In double precision.
  const mean = x.reduce((sum, value) => sum + value, 0) / size;
  const deviation = Math.sqrt(x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / size + 1e-6);
  let error = 0;
  for (let i = 0; i < size; i++) {
    const channel = i < half ? 0 : 1;
    const expected = ((x[i]! - mean) / deviation) * Number(weight.data[channel]) + Number(bias.data[channel]);
    error = Math.max(error, Math.abs(actual[i]! - expected));
  }
  expect(error).toBeLessThan(3e-6);
});
