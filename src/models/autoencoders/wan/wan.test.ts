import { describe } from 'vitest';
import { itMatchesDiffusers } from '../testing/parity.ts';

describe.each([
  ['Qwen-Image, one frame', 'autoencoder_kl_qwenimage'],
  ['Wan 2.1', 'autoencoder_kl_wan'],
  ['Wan 2.2: residual, in patches', 'autoencoder_kl_wan22'],
])('%s', (_, folder) => {
  itMatchesDiffusers(folder);
});
