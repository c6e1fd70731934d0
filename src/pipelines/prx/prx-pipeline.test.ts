import { describe, expect, it } from 'vitest';
import { floatTensor } from '../../tensor/tensor.ts';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('PRXPipeline', () => {
  const pipe = itReproducesDiffusers('prx');

  it('refuses sizes that it was not trained at, and those that do not go into tokens', async () => {
    const request = { prompt: 'a cat', height: 64, width: 96 };
    await expect(pipe().generate(request)).rejects.toThrow(/^useResolutionBinning: pictures of 64 pixels/);
    await expect(pipe().generate({ ...request, useResolutionBinning: false, height: 65 })).rejects.toThrow(
      /^height: expected a multiple of 16/,
    );
  });

  it('says what embeddings leave nothing to do for', async () => {
    const width = pipe().transformers['transformer']!.traits.textWidth!;
    const promptEmbeds = floatTensor(new Float32Array(2 * width), [1, 2, width]);
    const small = { height: 32, width: 32, numInferenceSteps: 1, useResolutionBinning: false, seed: 1 };
    const { warnings } = await pipe().generate({
      ...small,
      promptEmbeds,
      tokenizerMaxLength: 9,
      skipTextCleaning: true,
    });
    expect(warnings.join('\n')).toMatch(/^tokenizerMaxLength has no effect on embeddings/m);
    expect(warnings.join('\n')).toMatch(/^skipTextCleaning has no effect on embeddings/m);
  });
});
