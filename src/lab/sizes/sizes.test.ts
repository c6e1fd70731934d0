/** Every published config makes a graph, without a weight in memory. */
import { describe, expect, it } from 'vitest';
import { transformerFamilies } from '../../models/transformers/families.ts';
import { modelSize, sizedTypes } from './model-size.ts';
import { publishedModels } from './published.ts';
import { realStep } from './real-step.ts';

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

describe('a step on made-up weights', () => {
  const small = {
    name: 'a small DiT',
    family: 'DiTTransformer2DModel',
    config: { num_attention_heads: 2, attention_head_dim: 16, num_layers: 2, sample_size: 8 },
    call: { at: '64²', sizes: { size: 8 } },
  };

  it.each(sizedTypes)('is run with weights of %s', async (type) => {
    const { weightBytes, peakBytes, startBytes, spread } = await realStep(small, type);
    const { bytes } = await modelSize(small);
    expect(weightBytes).toBe(type === 'int8_per_row' ? bytes.int8 : bytes.int4);
    expect(peakBytes).toBeGreaterThanOrEqual(startBytes);
    expect(spread).toBeGreaterThan(0);
  });
});
