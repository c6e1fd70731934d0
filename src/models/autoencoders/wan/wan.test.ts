import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cut, join } from '../../../tensor/slices.ts';
import { floatTensor, type Tensor } from '../../../tensor/tensor.ts';
import { relativeError } from '../../testing/golden.ts';
import type { Autoencoder } from '../autoencoder.ts';
import { itMatchesDiffusers, openAutoencoder, readRecording } from '../testing/parity.ts';

describe.each([
  ['Qwen-Image, one frame', 'autoencoder_kl_qwenimage'],
  ['Wan 2.1', 'autoencoder_kl_wan'],
  ['Wan 2.2: residual, in patches', 'autoencoder_kl_wan22'],
  ['Qwen-Image 2.1: pictures with transparency', 'autoencoder_kl_qwenimage21'],
])('%s', (_, folder) => {
  itMatchesDiffusers(folder);
});

describe('a video', () => {
  let autoencoder: Autoencoder;
  let golden: Record<string, Tensor>;
  beforeAll(async () => {
    [autoencoder, golden] = await Promise.all([
      openAutoencoder('autoencoder_kl_wan'),
      readRecording('autoencoder_kl_wan'),
    ]);
  });
  afterAll(() => autoencoder.dispose());

  it('is decoded latent frame by latent frame', async () => {
    const progress: string[] = [];
    await autoencoder.decode(golden['decode.latents']!, { onProgress: (done, of) => progress.push(`${done}/${of}`) });
    expect(progress).toEqual(['1/3', '2/3', '3/3']);
  });

  it.each([
    ['decode', 'latents', 'image', [1, 1, 1]],
    ['decode', 'latents', 'image', [2, 1]],
    ['decode', 'latents', 'image', [1, 2]],
    ['decode', 'latents', 'image', [3]],
    ['encode', 'image', 'mean', [1, 4, 4]],
    ['encode', 'image', 'mean', [5, 4]],
    ['encode', 'image', 'mean', [1, 8]],
    ['encode', 'image', 'mean', [9]],
  ] as const)('%s gives the same in chunks of any size: %s → %s, %j', async (name, input, output, sizes) => {
    const whole = (await autoencoder.model.call(name, { [input]: golden[`${name}.${input}`]! }))[output]!;
    const chunks: Tensor[] = [];
    let history: Record<string, Tensor> = {};
    let from = 0;
    for (const size of sizes) {
      const chunk = cut(golden[`${name}.${input}`]!, { axis: 2, from, to: from + size });
      const { [output]: part, ...rest } = await autoencoder.model.call(name, { [input]: chunk, history });
      chunks.push(part!);
      history = Object.fromEntries(Object.entries(rest).filter(([key]) => key.startsWith('history.')));
      expect(Object.keys(history).length).toBeGreaterThan(10);
      from += size;
    }
    expect(relativeError(join(chunks, 2), whole)).toBeLessThan(1e-5);
  });

  it('leaves no history where none is asked for', async () => {
    const outputs = await autoencoder.model.call('decode', { latents: golden['decode.latents']! });
    expect(Object.keys(outputs)).toEqual(['image']);
  });

  it('is worked on in tiles as Diffusers does it', async () => {
    const recorded = await readRecording('autoencoder_kl_wan_tiled');
    const tiling = { size: 32, overlap: 0.25 };
    const image = await autoencoder.decode(recorded.latents!, { tiling });
    expect(relativeError(image, recorded.image!)).toBeLessThan(1e-4);
    const mean = await autoencoder.encode(recorded.video!, { tiling });
    expect(relativeError(mean, recorded.mean!)).toBeLessThan(1e-4);
  });

  it('stops between latent frames when aborted', async () => {
    const controller = new AbortController();
    const decoding = autoencoder.decode(golden['decode.latents']!, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(decoding).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('has 1 + 4·n frames', async () => {
    const video = floatTensor(new Float32Array(3 * 7 * 16 * 16), [1, 3, 7, 16, 16]);
    await expect(autoencoder.encode(video)).rejects.toThrow('image: 7 frames, expected 1 plus a multiple of 4');
  });

  it('refuses a history that is none', async () => {
    const latents = golden['decode.latents']!;
    await expect(autoencoder.model.call('decode', { latents, history: { image: latents } })).rejects.toThrow(
      "history: has 'image', expected the 'history.*' outputs of the chunk before",
    );
  });
});
