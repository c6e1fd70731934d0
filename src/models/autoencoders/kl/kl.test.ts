import { cp, mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { readSafetensors } from '../../../weights/safetensors/safetensors.ts';
import { writeSafetensors } from '../../../weights/safetensors/write-safetensors.ts';
import { ConfigReader } from '../../config-reader.ts';
import { fixtures, relativeError } from '../../testing/golden.ts';
import { Autoencoder } from '../autoencoder.ts';
import { itMatchesDiffusers, readRecording } from '../testing/parity.ts';
import { autoencoderKl } from './kl.ts';

describe.each([
  ['four levels, attention, quant convolutions', 'autoencoder_kl'],
  ['no attention in the middle', 'autoencoder_kl_noattn'],
  ['FLUX: no quant convolutions', 'autoencoder_kl_flux'],
  ['two residual blocks per level', 'autoencoder_kl_l2_tiled'],
  ['FLUX.2', 'autoencoder_kl_flux2'],
])('AutoencoderKL: %s', (_, folder) => {
  itMatchesDiffusers(folder);
});

describe('AutoencoderKL', () => {
  it('reads the names that attention had before Diffusers 0.15', async () => {
    const legacy = { to_q: 'query', to_k: 'key', to_v: 'value', 'to_out.0': 'proj_attn' };
    const folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-'));
    try {
      const source = path.join(fixtures, 'autoencoders/autoencoder_kl');
      await cp(path.join(source, 'config.json'), path.join(folder, 'config.json'));
      const renamed = Object.entries(
        await readSafetensors(path.join(source, 'diffusion_pytorch_model.safetensors')),
      ).map(([name, tensor]) => {
        const old = Object.entries(legacy).reduce((text, [now, then]) => text.replace(`0.${now}.`, `0.${then}.`), name);
        return [old, tensor] as const;
      });
      expect(renamed.filter(([name]) => name.includes('proj_attn'))).toHaveLength(4);
      await writeSafetensors(path.join(folder, 'diffusion_pytorch_model.safetensors'), Object.fromEntries(renamed));
      const autoencoder = await Autoencoder.fromPretrained(folder);
      const golden = await readRecording('autoencoder_kl');
      const image = await autoencoder.decode(golden['decode.latents']!);
      expect(relativeError(image, golden['decode.image']!)).toBeLessThan(1e-5);
      await autoencoder.dispose();
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('refuses what it does not build, by name', () => {
    const config = new ConfigReader(
      {
        block_out_channels: [8, 8],
        down_block_types: ['DownEncoderBlock2D', 'AttnDownEncoderBlock2D'],
        act_fn: 'mish',
      },
      'vae/config.json',
    );
    expect(() => autoencoderKl.configure(config)).toThrow(
      /^vae\/config.json: not supported: act_fn = "mish" .*down_block_types = .*AttnDownEncoderBlock2D/,
    );
  });
});
