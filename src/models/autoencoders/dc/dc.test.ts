import { describe, expect, it } from 'vitest';
import { ConfigReader } from '../../config-reader.ts';
import { itMatchesDiffusers } from '../testing/parity.ts';
import { autoencoderDc } from './dc.ts';

describe.each([
  ['strided and interpolated', 'autoencoder_dc'],
  ['pixel shuffle, batch norm', 'autoencoder_dc_pixelshuffle'],
  ['no blocks at the first level', 'autoencoder_dc_skip'],
])('AutoencoderDC: %s', (_, folder) => {
  itMatchesDiffusers(folder);
});

describe('AutoencoderDC', () => {
  it.each([
    [{ decoder_norm_types: 'layer_norm' }, `'decoder_norm_types' has "layer_norm", expected rms_norm or batch_norm`],
    [{ encoder_layers_per_block: [1, 2] }, `'encoder_layers_per_block' has 2 entries, expected 6, one per level`],
    [{ encoder_qkv_multiscales: [5] }, `'encoder_qkv_multiscales' is [5], expected lists of kernel sizes`],
  ])('refuses %j by name', (json, message) => {
    expect(() => autoencoderDc.configure(new ConfigReader(json, 'config.json'))).toThrow(`config.json: ${message}`);
  });
});
