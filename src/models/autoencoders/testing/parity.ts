/** Test support: an autoencoder against the recorded `encode` and `decode` of Diffusers. */
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Generator } from '../../../tensor/generator.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { readSafetensors } from '../../../weights/safetensors/safetensors.ts';
import { fixtures, relativeError } from '../../testing/golden.ts';
import { Autoencoder } from '../autoencoder.ts';

export function readRecording(folder: string): Promise<Record<string, Tensor>> {
  return readSafetensors(path.join(fixtures, 'autoencoders', folder, 'io.safetensors'));
}

export function openAutoencoder(folder: string): Promise<Autoencoder> {
  return Autoencoder.fromPretrained(path.join(fixtures, 'autoencoders', folder));
}

/** Tests: mean, log variance and a seeded sample of `encode`, and the image of `decode`. */
export function itMatchesDiffusers(folder: string, tolerance = 1e-5): void {
  let autoencoder: Autoencoder;
  let golden: Record<string, Tensor>;
  beforeAll(async () => {
    [autoencoder, golden] = await Promise.all([openAutoencoder(folder), readRecording(folder)]);
  });
  afterAll(() => autoencoder?.dispose());

  const expectEqual = (actual: Tensor | undefined, name: string) => {
    expect(actual?.shape, name).toEqual(golden[name]!.shape);
    expect(relativeError(actual!, golden[name]!), name).toBeLessThan(tolerance);
  };

  it('decodes as Diffusers', async () => {
    const timestep = golden['decode.timestep']?.f32[0];
    expectEqual(await autoencoder.decode(golden['decode.latents']!, { timestep }), 'decode.image');
  });

  it('encodes as Diffusers', async () => {
    const image = golden['encode.image']!;
    const { mean, logvar } = await autoencoder.model.call('encode', { image });
    if (golden['encode.latents']) return expectEqual(mean, 'encode.latents');
    expectEqual(mean, 'encode.mean');
    expectEqual(logvar, 'encode.logvar');
    expectEqual(await autoencoder.encode(image, { generator: new Generator(7) }), 'encode.sample_seed7');
  });
}
