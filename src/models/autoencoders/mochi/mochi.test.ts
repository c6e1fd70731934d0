import { describe, expect, it } from 'vitest';
import { relativeError } from '../../testing/golden.ts';
import { itMatchesDiffusers, openAutoencoder, readRecording } from '../testing/parity.ts';

describe('AutoencoderKLMochi', () => {
  itMatchesDiffusers('autoencoder_kl_mochi');

  it('decodes in tiles as Diffusers', async () => {
    await using autoencoder = await openAutoencoder('autoencoder_kl_mochi');
    const golden = await readRecording('autoencoder_kl_mochi');
    const tiling = { size: 2 * autoencoder.spatialScale, overlap: 0.5 };
    const image = await autoencoder.decode(golden['tiled.latents']!, { tiling });
    expect(relativeError(image, golden['tiled.image']!)).toBeLessThan(1e-5);
  });
});
