import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { floatTensor } from '../../../tensor/tensor.ts';
import type { Autoencoder } from '../autoencoder.ts';
import { itMatchesDiffusers, openAutoencoder } from '../testing/parity.ts';

describe('AutoencoderKLCogVideoX', () => {
  itMatchesDiffusers('autoencoder_kl_cogvideox');

  let autoencoder: Autoencoder;
  beforeAll(async () => {
    autoencoder = await openAutoencoder('autoencoder_kl_cogvideox');
  });
  afterAll(() => autoencoder?.dispose());

  it.each([
    [1, 1],
    [2, 8],
    [3, 9],
    [5, 17],
  ])('makes of %i latent frames %i', async (latents, frames) => {
    const { traits } = autoencoder;
    expect(traits.decodedFrames!(latents)).toBe(frames);
    const zeros = floatTensor(new Float32Array(4 * latents * 2 * 2), [1, 4, latents, 2, 2]);
    expect((await autoencoder.decode(zeros)).shape).toEqual([1, 3, frames, 16, 16]);
  });
});
