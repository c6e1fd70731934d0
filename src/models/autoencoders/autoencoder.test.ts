import path from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBackend } from '../../runtime/create-backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { WrappedBackend } from '../../runtime/wrapped-backend.ts';
import { dims, floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { readSafetensors } from '../../weights/safetensors/safetensors.ts';
import { fixtures, relativeError } from '../testing/golden.ts';
import { Autoencoder } from './autoencoder.ts';
import { openAutoencoder, readRecording } from './testing/parity.ts';

describe('tiles and slices', () => {
  let autoencoder: Autoencoder;
  let golden: Record<string, Tensor>;
  const tiling = { size: 64, overlap: 0.25 };
  beforeAll(async () => {
    [autoencoder, golden] = await Promise.all([
      openAutoencoder('autoencoder_kl_l2_tiled'),
      readRecording('autoencoder_kl_l2_tiled'),
    ]);
  });
  afterAll(() => autoencoder.dispose());

  it('decodes whole images as Diffusers, which is not what tiles give', async () => {
    const image = await autoencoder.decode(golden['decode_big.latents']!);
    expect(relativeError(image, golden['decode_big.image']!)).toBeLessThan(1e-4);
    expect(relativeError(image, golden['decode_big.image_tiled_lat8_sample64_ov0.25']!)).toBeGreaterThan(1e-2);
  });

  it('decodes in tiles as Diffusers, counting them', async () => {
    const progress: string[] = [];
    const image = await autoencoder.decode(golden['decode_big.latents']!, {
      tiling,
      onProgress: (done, total) => progress.push(`${done}/${total}`),
    });
    expect(relativeError(image, golden['decode_big.image_tiled_lat8_sample64_ov0.25']!)).toBeLessThan(1e-4);
    expect(progress).toEqual(['1/6', '2/6', '3/6', '4/6', '5/6', '6/6']);
  });

  it('decodes in tiles what a device has no bindings for', async () => {
    const { overlap } = autoencoder.traits.tiles;
    const pixels = 64 * 64;
    class Narrow extends WrappedBackend {
      override get capabilities() {
        // Three tensors in use, which a convolution reads in three bindings each.
        return { ...this.inner.capabilities, maxBinding: (pixels * autoencoder.traits.bytesPerPixel(1)) / 9 };
      }
    }
    const folder = path.join(fixtures, 'autoencoders', 'autoencoder_kl_l2_tiled');
    await using backend = new Narrow(await createBackend());
    await using narrow = await Autoencoder.fromPretrained(folder, { programs: new ProgramCache(backend) });
    const tiles = await narrow.decode(golden['decode_big.latents']!);
    const expected = await autoencoder.decode(golden['decode_big.latents']!, { tiling: { size: 64, overlap } });
    expect(relativeError(tiles, expected)).toBeLessThan(1e-5);
  });

  it('encodes in tiles as Diffusers', async () => {
    const recorded = await readRecording('autoencoder_kl_l2_tiled_encode');
    const mean = await autoencoder.encode(golden['decode_big.image']!, { tiling });
    expect(mean.shape).toEqual(recorded.mean!.shape);
    expect(relativeError(mean, recorded.mean!)).toBeLessThan(1e-4);
  });

  it('leaves images that fit one tile whole', async () => {
    const latents = golden['decode.latents']!;
    const [tiled, whole] = [
      await autoencoder.decode(latents, { tiling: true }),
      await autoencoder.decode(latents, { tiling: false }),
    ];
    expect(tiled.data).toEqual(whole.data);
  });

  it('refuses tiles smaller than the latents allow', async () => {
    const latents = golden['decode_big.latents']!;
    await expect(autoencoder.decode(latents, { tiling: { size: 8, overlap: 0.25 } })).rejects.toThrow(
      /tiling: tiles of 8 pixels with overlap 0.25 are too small; latents are 8 pixels apart/,
    );
  });

  it('works through a batch one by one', async () => {
    const latents = golden['decode.latents']!;
    const batch = floatTensor([...latents.f32, ...latents.f32.map((x) => -x)], [2, ...latents.shape.slice(1)]);
    const image = await autoencoder.decode(batch);
    expect(image.shape).toEqual([2, 3, 32, 32]);
    const first = floatTensor(image.f32.slice(0, image.size / 2), [1, 3, 32, 32]);
    expect(relativeError(first, golden['decode.image']!)).toBeLessThan(1e-4);
  });

  it('stops between tiles when aborted', async () => {
    const controller = new AbortController();
    let tiles = 0;
    const decoding = autoencoder.decode(golden['decode_big.latents']!, {
      tiling,
      signal: controller.signal,
      onProgress: () => {
        if (++tiles === 2) controller.abort();
      },
    });
    await expect(decoding).rejects.toMatchObject({ code: 'ABORTED' });
    expect(tiles).toBe(2);
  });

  it('names what is wrong with its input', async () => {
    await expect(autoencoder.decode(floatTensor(new Float32Array(72), [2, 1, 6, 6]))).rejects.toThrow(
      'latents: shape [2,1,6,6], expected [batch=2, 4, height, width]',
    );
  });
});

describe('the bundled model', () => {
  const folder = path.resolve(fixtures, '../models/emoji-flux');
  let autoencoder: Autoencoder;
  beforeAll(async () => {
    autoencoder = await Autoencoder.fromPretrained(path.join(folder, 'vae'));
  });
  afterAll(() => autoencoder.dispose());

  it.each(['run0', 'run1', 'run2', 'run3'])('decodes the final latents of %s to the recorded picture', async (run) => {
    const recorded = await readSafetensors(path.join(folder, 'reference/reference.safetensors'));
    const image = await autoencoder.decode(unpack(recorded[`${run}.latents`]!, autoencoder));
    const expected = await sharp(path.join(folder, `reference/${run}.png`))
      .removeAlpha()
      .raw()
      .toBuffer();
    expect(expected.length).toBe(image.size);
    expect(psnr(image, expected)).toBeGreaterThan(50);
  });
});

/** FLUX's packed latents [1, tokens, 4·C] as raw latents [1, C, h, w] of a square image. */
function unpack({ data, shape }: Tensor, { scalingFactor, shiftFactor }: Autoencoder): Tensor {
  const [, tokens, width] = dims({ shape }, 3);
  const [grid, channels] = [Math.sqrt(tokens), width / 4];
  const size = 2 * grid;
  const out = new Float32Array(data.length);
  for (let token = 0; token < tokens; token++) {
    for (let i = 0; i < width; i++) {
      const [channel, dy, dx] = [i >> 2, (i >> 1) & 1, i & 1];
      const y = 2 * Math.floor(token / grid) + dy;
      const x = 2 * (token % grid) + dx;
      out[(channel * size + y) * size + x] = Number(data[token * width + i]) / scalingFactor + shiftFactor;
    }
  }
  return floatTensor(out, [1, channels, size, size]);
}

/** Peak signal-to-noise ratio in dB of an image [1, 3, H, W] in -1..1, rounded to bytes, against bytes [H, W, 3]. */
function psnr(image: Tensor, expected: Uint8Array): number {
  const plane = image.size / 3;
  let squares = 0;
  for (let i = 0; i < image.size; i++) {
    const value = Math.min(1, Math.max(0, Number(image.data[i]) / 2 + 0.5));
    const pixel = i % plane;
    squares += (Math.round(value * 255) - expected[pixel * 3 + Math.floor(i / plane)]!) ** 2;
  }
  return 10 * Math.log10(255 ** 2 / (squares / image.size));
}
