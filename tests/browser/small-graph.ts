/** A graph of the operators that GPUs get wrong most easily, for a page and for Node: attention of many tokens, a norm, a convolution. */
import { GraphBuilder } from '../../src/graph/builder.ts';
import { conv, layerNormalization, multiHeadAttention } from '../../src/graph/ops.ts';
import { takeDown, uploadAll } from '../../src/runtime/host-tensors.ts';
import { disposeTensors } from '../../src/runtime/tensor-table.ts';
import { Generator } from '../../src/tensor/generator.ts';
import type { Shape } from '../../src/tensor/tensor.ts';
import type { Backend } from '../../src/web.ts';

const shapes = { x: [1, 70, 96], scale: [96], kernel: [16, 7, 3, 3] } as const satisfies Record<string, Shape>;

/** What a backend computes of it. */
export async function smallGraph(backend: Backend): Promise<number[]> {
  const generator = new Generator(5);
  const inputs = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, generator.randn(shape)]));
  const g = new GraphBuilder();
  const [x, scale, kernel] = Object.entries(shapes).map(([name, shape]) => g.input(name, 'float32', shape));
  const normed = layerNormalization(x!, { scale: scale!, epsilon: 1e-5 });
  const attended = x!.add(multiHeadAttention({ query: normed, key: normed, value: normed, numHeads: 3 }));
  g.output('y', conv(attended.reshape([1, 7, 80, 12]), { weight: kernel!, padding: 1 }));
  const program = await backend.compile(g.finish());
  const uploaded = uploadAll(backend, inputs);
  try {
    const { y } = await takeDown(backend, await program.run(uploaded));
    return [...y!.f32];
  } finally {
    disposeTensors(uploaded);
    await program.dispose();
  }
}
