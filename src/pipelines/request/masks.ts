/** Masks of inpainting: what of a picture is drawn anew. */
import type { Image } from '../../images/image.ts';
import { join } from '../../tensor/slices.ts';
import { dims, floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { type ImageSource, loadImages } from './start-images.ts';

interface Size {
  height: number;
  width: number;
}

/** Masks [n, 1, H, W] of pictures: 1 where they are brighter than not. */
export async function loadMasks(
  source: ImageSource | readonly ImageSource[],
  { height, width }: Size,
  option = 'maskImage',
): Promise<Tensor> {
  const images = await loadImages(source, option);
  const sized = await Promise.all(images.map((image) => image.resize(width, height)));
  return join(sized.map(brightness), 0);
}

/** The grey of Pillow's `convert('L')`, as 0 or 1. */
function brightness({ width, height, channels, data }: Image): Tensor {
  const values = Float32Array.from({ length: width * height }, (_, i) => {
    const [red, green, blue] = [data[i * channels]!, data[i * channels + 1]!, data[i * channels + 2]!];
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16 >= 127.5 ? 1 : 0;
  });
  return floatTensor(values, [1, 1, height, width]);
}

/** Pictures [n, 3, H, W] with what is drawn anew put out: grey, or `value`. */
export function maskedPictures(pixels: Tensor, masks: Tensor, value = 0): Tensor {
  const [images, channels, height, width] = dims(pixels, 4);
  const plane = height * width;
  const mask = masks.f32;
  return floatTensor(
    pixels.f32.map((pixel, i) => {
      const image = Math.floor(i / (channels * plane)) % masks.dim(0);
      return mask[image * plane + (i % plane)]! === 1 ? value : pixel;
    }),
    [images, channels, height, width],
  );
}

/** Masks [n, 1, H, W] for latents [n, channels, H/scale, W/scale], by their first pixel, as PyTorch's nearest does. */
export function latentMasks(masks: Tensor, { scale, channels }: { scale: number; channels: number }): Tensor {
  const [images, , height, width] = dims(masks, 4);
  const [rows, columns] = [height / scale, width / scale];
  const source = masks.f32;
  const out = new Float32Array(images * channels * rows * columns);
  let at = 0;
  for (let n = 0; n < images; n++)
    for (let c = 0; c < channels; c++)
      for (let y = 0; y < rows; y++)
        for (let x = 0; x < columns; x++) out[at++] = source[(n * height + y * scale) * width + x * scale]!;
  return floatTensor(out, [images, channels, rows, columns]);
}

/** Masks [n, 1, H, W] with the pixels of a latent as channels: [n, scale², H/scale, W/scale]. */
export function maskChannels(masks: Tensor, scale: number): Tensor {
  const [images, , height, width] = dims(masks, 4);
  const [rows, columns] = [height / scale, width / scale];
  const source = masks.f32;
  const out = new Float32Array(masks.size);
  let at = 0;
  for (let n = 0; n < images; n++)
    for (let dy = 0; dy < scale; dy++)
      for (let dx = 0; dx < scale; dx++)
        for (let y = 0; y < rows; y++)
          for (let x = 0; x < columns; x++) out[at++] = source[(n * height + y * scale + dy) * width + x * scale + dx]!;
  return floatTensor(out, [images, scale * scale, rows, columns]);
}

/** mask·drawn + (1 − mask)·kept, rounded to float32 after every operation. */
export function blend(drawn: Tensor, kept: Tensor, mask: Tensor): Tensor {
  const [d, k, m] = [drawn.f32, kept.f32, mask.f32];
  return floatTensor(
    d.map((value, i) => Math.fround(Math.fround(1 - m[i]!) * k[i]!) + Math.fround(m[i]! * value)),
    drawn.shape,
  );
}
