import { describe, expect, it } from 'vitest';
import { relativeError } from '../../models/testing/golden.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { itCaches } from '../testing/cached.ts';
import { itReproducesDiffusers, optionsOf, readRecording } from '../testing/recorded.ts';

describe('LTXImageToVideoPipeline', () => {
  const pipe = itReproducesDiffusers('ltx_i2v');
  itCaches(pipe, 'ltx_i2v');

  it('keeps the first frame of given latents', async () => {
    const [run] = readRecording('ltx_i2v').runs;
    const { image, ...options } = await optionsOf('ltx_i2v', run!);
    const drawn = await pipe().generate({ ...options, image, outputType: 'latent' });
    const given = await pipe().generate({ ...options, latents: drawn.latents, outputType: 'latent' });
    const [tokens, channels] = [8, 8];
    const first = ({ f32 }: Tensor) => [...f32.subarray(0, tokens * channels)];
    expect(first(given.latents)).toEqual(first(drawn.latents));
    expect(relativeError(given.latents, drawn.latents)).toBeGreaterThan(0.01);
    expect(given.warnings).toEqual([]);
    await expect(pipe().generate(options)).rejects.toThrow(
      'image: is missing: the first frame, unless latents have it',
    );
  });
});
