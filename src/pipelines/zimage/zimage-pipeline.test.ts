import { describe, expect, it } from 'vitest';
import { floatTensor } from '../../tensor/tensor.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';
import { warningsOf } from '../testing/warnings.ts';

describe('ZImagePipeline', () => {
  const pipe = itReproducesDiffusers('zimage');
  const small = { height: 32, width: 32, numInferenceSteps: 1, seed: 1 };

  it('takes a list of embeddings, each of its own length', async () => {
    const tokens = (count: number) => floatTensor(new Float32Array(count * 20).fill(0.5), [count, 20]);
    const { images } = await pipe().generate({ ...small, promptEmbeds: [tokens(3), tokens(5)], guidanceScale: 0 });
    expect(images).toHaveLength(2);
    await expect(pipe().generate({ ...small, promptEmbeds: tokens(3) } as GenerateOptions)).rejects.toThrow(
      /promptEmbeds: expected a list of tensors/,
    );
  });

  it('says which options have no effect', async () => {
    const warnings = await warningsOf(() =>
      pipe().generate({ ...small, prompt: 'cat', guidanceScale: 0, cfgNormalization: true, negativePrompt: 'x' }),
    );
    expect(warnings).toMatch(/cfgNormalization has no effect without guidance; set guidanceScale above 0/);
    expect(warnings).toMatch(/negativePrompt has no effect at guidanceScale 0; set it above 0/);
  });
});
