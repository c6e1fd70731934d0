/** Tiles and images that several ranks work on come to what one process makes of them; ranks may have fewer threads, so sums another order. */
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { Autoencoder } from '../models/autoencoders/autoencoder.ts';
import { openAutoencoder, readRecording } from '../models/autoencoders/testing/parity.ts';
import { fixtures, relativeError } from '../models/testing/golden.ts';
import { Generator } from '../tensor/generator.ts';
import { join } from '../tensor/slices.ts';
import { tilesInOneThread } from './testing/ranks.ts';

describe.each([
  { name: 'autoencoder_kl_l2_tiled', ranks: 3, frames: [], edges: [10, 7] },
  // Frame by frame, and as a whole.
  { name: 'autoencoder_kl_wan', ranks: 2, frames: [2], edges: [6, 4] },
  { name: 'autoencoder_kl_cogvideox', ranks: 2, frames: [2], edges: [6, 4] },
])('$name', ({ name, ranks, frames, edges }) => {
  it(`on ${ranks} ranks`, async () => {
    await using autoencoder = await openAutoencoder(name);
    const { latentChannels, spatialScale, temporalScale = 1 } = autoencoder.traits;
    const tiling = { size: 4 * spatialScale, overlap: 0.25 };
    const latents = new Generator(1).randn([1, latentChannels, ...frames, ...edges]);
    const pixels = [
      ...frames.map((count) => 1 + (count - 1) * temporalScale),
      ...edges.map((edge) => edge * spatialScale),
    ];
    const image = new Generator(2).randn([1, 3, ...pixels]);
    const work = async () => {
      const progress: string[] = [];
      const onProgress = (done: number, total: number) => progress.push(`${done}/${total}`);
      const decoded = await autoencoder.decode(latents, { tiling, onProgress });
      return { decoded, encoded: await autoencoder.encode(image, { tiling }), progress };
    };
    const alone = await work();
    autoencoder.shareOut(tilesInOneThread(autoencoder, ranks));
    const shared = await work();
    expect(relativeError(shared.decoded, alone.decoded)).toBeLessThan(1e-5);
    expect(relativeError(shared.encoded, alone.encoded)).toBeLessThan(1e-5);
    expect(shared.progress).toEqual(alone.progress);
    autoencoder.shareOut(undefined);
    expect(relativeError(await autoencoder.decode(latents, { tiling }), alone.decoded)).toBe(0);
  });
});

describe('without tiles', () => {
  it('images are shared out', async () => {
    await using autoencoder = await openAutoencoder('autoencoder_kl_l2_tiled');
    const { 'decode.latents': one } = await readRecording('autoencoder_kl_l2_tiled');
    const three = join([one!, one!, one!], 0);
    const alone = await autoencoder.decode(three);
    autoencoder.shareOut(tilesInOneThread(autoencoder, 2));
    expect(relativeError(await autoencoder.decode(three), alone)).toBeLessThan(1e-5);
    const size = { height: 32, width: 32, frames: 1 };
    expect(autoencoder.leavesRanksIdle({ images: 3, ...size })).toBe(false);
    expect(autoencoder.leavesRanksIdle({ images: 1, ...size })).toBe(true);
  });

  it("what is larger than Diffusers' tiles is tiled: otherwise there is nothing to share out", async () => {
    const folder = path.join(fixtures, 'autoencoders', 'autoencoder_kl_l2_tiled');
    await using autoencoder = await Autoencoder.fromPretrained(folder, { deferWeights: true });
    const { spatialScale, tiles, latentChannels } = autoencoder.traits;
    const edge = Math.ceil((1.5 * tiles.size) / spatialScale);
    const latents = new Generator(3).randn([1, latentChannels, 2, edge]);
    autoencoder.shareOut(tilesInOneThread(autoencoder, 2));
    const shared = await autoencoder.decode(latents);
    // Only the ranks have read weights.
    expect(autoencoder.model.weights.bytes).toBe(0);
    autoencoder.shareOut(undefined);
    expect(relativeError(shared, await autoencoder.decode(latents, { tiling: true }))).toBeLessThan(1e-5);
    expect(relativeError(shared, await autoencoder.decode(latents))).toBeGreaterThan(1e-4);
  });

  it('an error in one piece ends the work, and leaves nothing', async () => {
    await using autoencoder = await openAutoencoder('autoencoder_kl_l2_tiled');
    autoencoder.shareOut(tilesInOneThread(autoencoder, 2));
    const controller = new AbortController();
    const latents = new Generator(4).randn([1, autoencoder.latentChannels, 8, 12]);
    const tiling = { size: 4 * autoencoder.spatialScale, overlap: 0.25 };
    const work = autoencoder.decode(latents, {
      tiling,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(work).rejects.toMatchObject({ code: 'ABORTED' });
    expect((await autoencoder.decode(latents, { tiling })).shape).toEqual([1, 3, 8 * 8, 12 * 8]);
  });
});
