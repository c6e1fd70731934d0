import { describe } from 'vitest';
import { itMatchesDiffusers } from '../testing/parity.ts';

describe('AutoencoderKLLTXVideo', () => itMatchesDiffusers('autoencoder_kl_ltx'));

describe('AutoencoderKLLTXVideo as of 0.9.5, told of noise', () => itMatchesDiffusers('autoencoder_kl_ltx_095'));
