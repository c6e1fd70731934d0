/** Every published config makes a graph, without a weight in memory. */
import { describe, expect, it } from 'vitest';
import { transformerFamilies } from '../../models/transformers/families.ts';
import { modelSize } from './model-size.ts';
import { publishedModels } from './published.ts';

describe('published models', () => {
  it.each(publishedModels.map((model) => [model.name, model] as const))('%s', async (_, model) => {
    const { parameters, bytes, call } = await modelSize(model);
    expect(bytes.float32).toBe(4 * parameters);
    expect(bytes.int8).toBeLessThan(bytes.float32);
    expect(bytes.int4).toBeLessThan(bytes.int8);
    expect(call.flops).toBeGreaterThan(parameters / 100);
  });

  it('are there of every family', () => {
    // DiT and PixArt were published under the name of the class before theirs.
    const others = ['Transformer2DModel'];
    const families = new Set([...publishedModels.map(({ family }) => family), ...others]);
    expect([...families].sort()).toEqual(Object.keys(transformerFamilies).sort());
  });
});
