import { describe } from 'vitest';
import { itMatchesDiffusers } from '../testing/parity.ts';

describe.each([
  ['4 latent channels', 'autoencoder_tiny'],
  ['16 latent channels, as for FLUX', 'autoencoder_tiny_16ch'],
])('AutoencoderTiny, %s', (_, folder) => {
  itMatchesDiffusers(folder);
});
