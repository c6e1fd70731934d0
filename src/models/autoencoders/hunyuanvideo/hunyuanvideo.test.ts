import { describe } from 'vitest';
import { itMatchesDiffusers } from '../testing/parity.ts';

describe('AutoencoderKLHunyuanVideo', () => itMatchesDiffusers('autoencoder_kl_hunyuanvideo'));
