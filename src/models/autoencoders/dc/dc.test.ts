import { describe } from 'vitest';
import { itMatchesDiffusers } from '../testing/parity.ts';

describe.each([
  ['strided and interpolated', 'autoencoder_dc'],
  ['pixel shuffle, batch norm', 'autoencoder_dc_pixelshuffle'],
  ['no blocks at the first level', 'autoencoder_dc_skip'],
])('AutoencoderDC, %s', (_, folder) => {
  itMatchesDiffusers(folder);
});
