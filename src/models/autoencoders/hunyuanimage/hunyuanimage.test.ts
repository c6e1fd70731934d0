import { describe } from 'vitest';
import { itMatchesDiffusers } from '../testing/parity.ts';

describe('AutoencoderKLHunyuanImage', () => itMatchesDiffusers('autoencoder_kl_hunyuanimage'));
