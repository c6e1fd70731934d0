/** Every transformer family in fewer bits, against itself in float32. */
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { covers } from '../../tests/covers.ts';
import { AutoModel } from '../models/auto-model.ts';
import { fixtures, goldenOf, readGolden } from '../models/testing/golden.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { WeightStore } from '../weights/weight-store.ts';
import { relativeError } from './formats/scales.ts';
import { quantize } from './quantize.ts';

const families = readdirSync(path.resolve(import.meta.dirname, '../models/transformers'), { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => goldenOf(name));

/**
 * Weights of these models are spread evenly, so rounding them costs about 1 / (2 · top code): 0.4 % of a weight at 8 bits (and as
 * much for activations), 7 % at 4. Layers add their errors like noise: 0.1 to 1.8 % and 1.5 to 42 % are measured at the output.
 */
const types = [
  { quantType: 'int8_per_row', atLeast: 0.0005, below: 0.05 },
  { quantType: 'int4_weight_only', blockSize: 16, atLeast: 0.005, below: 0.5 },
];

describe.each(families)('%s', (family) => {
  it.each(types)('in $quantType computes nearly what it does in float32', async ({ atLeast, below, ...options }) => {
    const model = await AutoModel.fromPretrained(path.join(fixtures, 'models', family));
    const noted = covers({ family: model.definition.className, check: 'quantized' });
    const { inputs } = await readGolden(`models/${family}`);
    const forward = async () => {
      const { sample } = await model.forward(inputs);
      // Z-Image returns a list, one tensor for each picture.
      return Float32Array.from([sample].flat().flatMap((tensor) => Array.from((tensor as Tensor).data, Number)));
    };
    const expected = await forward();
    const { components } = await quantize(model, options);
    const { layers, kept } = components[0]!;
    // In every block list, nearly all layers: none of these families has shapes that a type cannot serve.
    expect(layers.every(({ fallback }) => fallback === undefined)).toBe(true);
    const inLists = kept.filter(({ name }) =>
      model.definition.blockLists.some((list) => name.startsWith(`${list.name}.`)),
    );
    expect(layers.length).toBeGreaterThan(inLists.length);
    expect((model.weights as WeightStore).quantizedNames).toHaveLength(layers.length);
    for (const { name } of model.definition.blockLists)
      expect(layers.some((layer) => layer.name.startsWith(`${name}.0.`))).toBe(true);

    const error = noted(relativeError(await forward(), expected));
    expect(error).toBeGreaterThan(atLeast);
    expect(error).toBeLessThan(below);
    await model.dispose();
  });
});
