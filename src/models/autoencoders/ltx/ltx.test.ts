import { describe } from 'vitest';
import { itMatchesDiffusers } from '../testing/parity.ts';

describe('AutoencoderKLLTXVideo', () => itMatchesDiffusers('autoencoder_kl_ltx'));
