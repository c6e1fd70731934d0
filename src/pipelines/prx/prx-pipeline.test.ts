import { describe, expect, it } from 'vitest';
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
});
