import { describe } from 'vitest';
import { itMatchesDiffusers } from '../testing/parity.ts';

describe.each([
  ['four levels, attention, quant convolutions', 'autoencoder_kl'],
  ['no attention in the middle', 'autoencoder_kl_noattn'],
  ['FLUX: no quant convolutions', 'autoencoder_kl_flux'],
  ['two residual blocks per level', 'autoencoder_kl_l2_tiled'],
  ['FLUX.2', 'autoencoder_kl_flux2'],
])('AutoencoderKL: %s', (_, folder) => {
  itMatchesDiffusers(folder);
});
