/** What building a graph guarantees: shapes checked with the module path, equal structure equal bytes, nothing computed in vain. */
import { describe, expect, it } from 'vitest';
import { floatTensor } from '../tensor/tensor.ts';
import { GraphBuilder } from './builder.ts';
import { encodeOnnx } from './encode.ts';
import * as ops from './ops.ts';

const build = (weightName: string, path: string) => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', [2, 3]);
  g.scope(path, () => g.output('y', ops.gemm(x, g.weight(weightName, { dtype: 'float32', shape: [4, 3] })).add(1)));
  return g.finish();
};

describe('GraphBuilder', () => {
  it('names the module path where shapes do not fit', () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', [2, 3]);
    const w = g.weight('w', { dtype: 'float32', shape: [4, 5] });
    expect(() => g.scope('blocks.3.attn.to_q', () => ops.gemm(x, w))).toThrow(
      /^blocks\.3\.attn\.to_q: linear of \[2,3\] with weight \[4,5\]/,
    );
    expect(() => x.add(g.input('y', 'float32', [4]))).toThrow(/do not broadcast/);
    expect(() => x.reshape([4, -1])).toThrow(/cannot reshape \[2,3\] to \[4,-1\]/);
    expect(() => x.slice(1, 2, 5)).toThrow(/outside axis/);
  });

  it('gives equal structures equal bytes, whatever the weights and modules are called', () => {
    const bytes = (name: string, path: string, nodeNames: boolean) => [...encodeOnnx(build(name, path), { nodeNames })];
    expect(bytes('blocks.1.weight', 'blocks.1', false)).toEqual(bytes('blocks.7.weight', 'blocks.7', false));
    expect(bytes('blocks.1.weight', 'blocks.1', true)).not.toEqual(bytes('blocks.1.weight', 'blocks.7', true));
  });

  it('drops what no output depends on, and its weights', () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', [2, 3]);
    const unused = ops.gemm(x, g.weight('unused', { dtype: 'float32', shape: [4, 3] }));
    unused.mul(2);
    g.output('y', ops.gemm(x, g.weight('used', { dtype: 'float32', shape: [4, 3] })));
    const { nodes, weights } = g.finish();
    expect(nodes.map(({ op }) => op)).toEqual(['Gemm']);
    expect(weights.map(({ name }) => name)).toEqual(['used']);
  });

  it('shares equal constants and counts operations', () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', [2, 3]);
    g.output(
      'y',
      x
        .mul(g.constant(floatTensor([1, 2, 3])))
        .add(g.constant(floatTensor([1, 2, 3])))
        .matmul(x.transpose([1, 0])),
    );
    const { constants, flops } = g.finish();
    expect(constants.size).toBe(1);
    expect(flops).toBe(2 * 2 * 2 * 3);
  });
});
