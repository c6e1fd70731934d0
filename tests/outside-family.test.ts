/** A family defined outside of the package, with what `deja-dit/models` gives: it loads, computes, and can be cached. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');

it('a block of one linear layer', async () => {
  const { AutoModel, Generator, Tensor, writeSafetensors } = (await import(
    path.join(root, 'dist/index.js')
  )) as typeof import('../src/index.ts');
  const { defineTransformer, linear, registerTransformer } = (await import(
    path.join(root, 'dist/models.js')
  )) as typeof import('../src/models.ts');
  registerTransformer(
    defineTransformer({
      className: 'OutsideTransformer2DModel',
      separateCfg: false,
      parseConfig: (config) => ({ width: config.integer('width', 8) }),
      inputs: ({ width }) => [{ name: 'hidden_states', kind: 'float', shape: ['batch', 'tokens', width] }],
      prologue: (_, inputs) => ({ hidden_states: inputs['hidden_states']! }),
      blockLists: ({ width }) => [
        {
          name: 'blocks',
          pattern: 3,
          count: 2,
          block: (m, { hidden_states: x }) => ({ hidden_states: x!.add(linear(m.at('ff'), x!, width)) }),
        },
      ],
      epilogue: (m, state, { width }) => linear(m.at('proj_out'), state['hidden_states']!, width),
    }),
  );
  const folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-outside-'));
  try {
    const random = new Generator(1);
    const names = ['blocks.0.ff', 'blocks.1.ff', 'proj_out'];
    const weights = Object.fromEntries(names.map((name) => [`${name}.weight`, random.randn([8, 8])]));
    await writeFile(path.join(folder, 'config.json'), '{"_class_name": "OutsideTransformer2DModel", "width": 8}');
    const biases = Object.fromEntries(
      names.map((name) => [`${name}.bias`, new Tensor('float32', new Float32Array(8), [8])]),
    );
    await writeSafetensors(path.join(folder, 'diffusion_pytorch_model.safetensors'), { ...weights, ...biases });
    const model = await AutoModel.fromPretrained(folder);
    const input = random.randn([1, 3, 8]);
    const { sample } = await model.forward({ hidden_states: input });

    const product = (x: number[], name: string) => {
      const w = weights[`${name}.weight`]!.data;
      return Array.from({ length: 24 }, (_, i) =>
        Array.from({ length: 8 }, (_, k) => x[(i >> 3) * 8 + k]! * Number(w[(i & 7) * 8 + k])).reduce((a, b) => a + b),
      );
    };
    let x = Array.from(input.f32);
    for (const block of names.slice(0, 2)) {
      const change = product(x, block);
      x = x.map((value, i) => value + change[i]!);
    }
    const expected = product(x, 'proj_out');
    const actual = (sample as typeof input).f32;
    for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 3);
    await model.dispose();
  } finally {
    await rm(folder, { recursive: true });
  }
});
