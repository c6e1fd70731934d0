import { expect, it } from 'vitest';
import { Image } from '../../images/image.ts';
import { ConfigReader } from '../../models/config-reader.ts';
import { rows } from '../../tensor/tensor.ts';
import { patchPictures, readPictureProcessor } from './picture-processor.ts';

const picture = (width: number, height: number) =>
  new Image({ width, height, channels: 3, data: new Uint8Array(width * height * 3).fill(7) });
const processor = (json: object) => readPictureProcessor(new ConfigReader({ ...json }, 'processor'));

// By Transformers' `smart_resize`.
it('brings pictures to whole tokens within bounds', async () => {
  const grids = async (json: object, ...sizes: [number, number][]) =>
    rows(
      (
        await patchPictures(
          sizes.map(([w, h]) => picture(w, h)),
          processor(json),
        )
      ).image_grid_thw,
    ).map((row) => row.map(Number));
  expect(await grids({}, [70, 98], [42, 1], [300, 200])).toEqual([
    [1, 8, 4],
    [1, 2, 26],
    [1, 14, 22],
  ]);
  const small = {
    patch_size: 4,
    merge_size: 1,
    min_pixels: 64,
    max_pixels: 128,
    size: { shortest_edge: 1, longest_edge: 2 },
  };
  expect(await grids(small, [30, 20], [4, 4])).toEqual([
    [1, 2, 3],
    [1, 2, 2],
  ]);
});

it('refuses what it does not do', async () => {
  expect(() => processor({ resample: 2 })).toThrow('processor: not supported: resample = 2 (only 3 is)');
  await expect(patchPictures([picture(402, 2)], processor({}))).rejects.toThrow(/^image: a picture of 402 x 2 pixels/);
});
