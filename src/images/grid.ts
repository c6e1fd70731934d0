/** Several images as one. */
import { DejaDitError } from '../errors/errors.ts';
import { Image } from './image.ts';

/**
 * Images of one size side by side, row by row, cells left over white.
 *
 * @param columns default: the smallest number that makes the grid at least as wide as high, counted in cells
 * @throws DejaDitError `SHAPE_MISMATCH` if sizes differ, `INVALID_ARGUMENT` for no images or a bad column count
 * @example
 * const { images } = await pipe.generate({ prompt, numImages: 4 });
 * await imageGrid(images, 2).save('grid.png');
 */
export function imageGrid(images: readonly Image[], columns: number = Math.ceil(Math.sqrt(images.length))): Image {
  const first = images[0];
  if (first === undefined) throw new DejaDitError('INVALID_ARGUMENT', 'a grid needs at least one image');
  if (!Number.isInteger(columns) || columns < 1) {
    throw new DejaDitError('INVALID_ARGUMENT', `a grid cannot have ${columns} columns`);
  }
  const { width, height, channels } = first;
  const rows = Math.ceil(images.length / columns);
  const data = new Uint8Array(rows * height * columns * width * channels).fill(255);
  images.forEach((image, n) => {
    if (image.width !== width || image.height !== height || image.channels !== channels) {
      const size = ({ width, height, channels }: Image) => `${width} x ${height} x ${channels}`;
      throw new DejaDitError('SHAPE_MISMATCH', `images of a grid differ: ${size(first)} and ${size(image)}`);
    }
    const left = (n % columns) * width;
    const top = Math.floor(n / columns) * height;
    for (let y = 0; y < height; y++) {
      const row = image.data.subarray(y * width * channels, (y + 1) * width * channels);
      data.set(row, ((top + y) * columns * width + left) * channels);
    }
  });
  return new Image({ width: columns * width, height: rows * height, channels, data });
}
