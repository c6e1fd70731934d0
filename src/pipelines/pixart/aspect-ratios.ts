/** The image sizes that PixArt, Sana and PRX were trained on, one per aspect ratio, and how a picture of one becomes one of another size. */
import { DejaDitError } from '../../errors/errors.ts';
import { dims, floatTensor, type Tensor } from '../../tensor/tensor.ts';
import type { HasAutoencoder, HasTransformer } from '../schema/sizes.ts';

/** Height × width for each ratio, in sixteenths of the square picture's edge. */
const sizes =
  '8×32 8×29 9×28 9×27 9×26 10×25 10×24 11×23 11×22 11×21 12×21 12×20 13×19 13×18 14×18 14×17 15×17 15×16 16×16 16×15 17×15 ' +
  '17×14 18×14 18×13 19×13 20×12 21×12 22×11 23×11 24×10 25×10 27×9 32×8';
/** PixArt-Σ at 2048 pixels knows a few long ones more. */
const moreSizes = ' 8×31 8×30 26×9 28×9 29×8 30×8 31×8';

export interface Size {
  height: number;
  width: number;
}

/**
 * The trained size whose aspect ratio is nearest to the one that is asked for.
 * @param edge of the square pictures that the model was trained on: 256 to 4096 pixels
 * @throws DejaDitError for models of another size
 */
export function nearestTrainedSize({ height, width }: Size, edge: number): Size {
  if (![256, 512, 1024, 2048, 4096].includes(edge)) {
    throw new DejaDitError(
      'INVALID_ARGUMENT',
      `pictures of ${edge} pixels, this model's sample_size, have no table of trained sizes; pass false`,
      { path: 'useResolutionBinning' },
    );
  }
  return nearestSize({ height, width }, { sizes: `${sizes}${edge > 1024 ? moreSizes : ''}`, unit: edge / 16 });
}

/** The size of a list, height × width in units of so many pixels, whose aspect ratio is nearest to the one that is asked for. */
export function nearestSize({ height, width }: Size, { sizes, unit }: { sizes: string; unit: number }): Size {
  const known = sizes.split(' ').map((text) => {
    const [rows, columns] = text.split('×').map(Number) as [number, number];
    return { height: rows * unit, width: columns * unit, distance: Math.abs(rounded(rows / columns) - height / width) };
  });
  const nearest = known.reduce((best, size) => (size.distance < best.distance ? size : best));
  return { height: nearest.height, width: nearest.width };
}

/**
 * The size at which a model draws a picture, before that is brought to the size asked for.
 * @throws DejaDitError for sizes that do not go into tokens
 */
export function drawnSize(
  { height, width, useResolutionBinning }: Size & { useResolutionBinning: boolean },
  { transformer, vae }: HasAutoencoder & HasTransformer,
): Size {
  if (useResolutionBinning)
    return nearestTrainedSize({ height, width }, transformer.traits.sampleSize! * vae.spatialScale);
  return wholeTokens({ height, width }, { transformer, vae });
}

/** @throws DejaDitError for sizes that do not go into tokens */
export function wholeTokens({ height, width }: Size, { transformer, vae }: HasAutoencoder & HasTransformer): Size {
  const multiple = transformer.traits.patch[1] * vae.spatialScale;
  for (const [path, edge] of Object.entries({ height, width })) {
    if (edge % multiple === 0) continue;
    const message = `expected a multiple of ${multiple} without useResolutionBinning, got ${edge}`;
    throw new DejaDitError('INVALID_ARGUMENT', message, { path });
  }
  return { height, width };
}

/** Diffusers compares with ratios of two decimals. */
const rounded = (ratio: number) => Math.round(ratio * 100) / 100;

/** Pictures [B, C, h, w] scaled (bilinear, without smoothing) until they cover a size, and cropped to it around their middle. */
export function resizeAndCrop(pictures: Tensor, { height, width }: Size): Tensor {
  const [batch, channels, h, w] = dims(pictures, 4);
  if (h === height && w === width) return pictures;
  const ratio = Math.max(height / h, width / w);
  const rows = samples({ from: h, to: Math.trunc(h * ratio), take: height });
  const columns = samples({ from: w, to: Math.trunc(w * ratio), take: width });
  const source = pictures.f32;
  const out = new Float32Array(batch * channels * height * width);
  let at = 0;
  for (let plane = 0; plane < batch * channels * h * w; plane += h * w) {
    for (const row of rows) {
      for (const { low, high, share } of columns) {
        const top = source[plane + row.low * w + low]! * (1 - share) + source[plane + row.low * w + high]! * share;
        const bottom = source[plane + row.high * w + low]! * (1 - share) + source[plane + row.high * w + high]! * share;
        out[at++] = top * (1 - row.share) + bottom * row.share;
      }
    }
  }
  return floatTensor(out, [batch, channels, height, width]);
}

/** For each of the middle `take` of `to` samples: its two neighbours among `from`, and the share of the higher one. */
function samples({ from, to, take }: { from: number; to: number; take: number }) {
  const first = Math.floor((to - take) / 2);
  return Array.from({ length: take }, (_, i) => {
    const position = Math.max(0, ((first + i + 0.5) * from) / to - 0.5);
    const low = Math.min(Math.floor(position), from - 1);
    return { low, high: Math.min(low + 1, from - 1), share: position - low };
  });
}
