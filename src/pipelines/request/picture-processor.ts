/** Pictures as Qwen-VL's vision towers take them: Transformers' `Qwen2VLImageProcessor`. */
import { DejaDitError } from '../../errors/errors.ts';
import type { Image } from '../../images/image.ts';
import { ConfigReader } from '../../models/config-reader.ts';
import { roundHalfEven } from '../../tensor/rounding.ts';
import { join } from '../../tensor/slices.ts';
import { floatTensor, intTensor, type Tensor } from '../../tensor/tensor.ts';

export interface PictureProcessor {
  /** Rows and columns of a patch, in pixels. */
  patch: number;
  /** Frames of a patch; a picture is repeated to fill them. */
  frames: number;
  /** Edge of the square of patches that becomes one token. */
  merge: number;
  minPixels: number;
  maxPixels: number;
  /** Levels are from 0 to 1 by this factor. */
  scale: number;
  mean: readonly number[];
  std: readonly number[];
}

/** Reads a `preprocessor_config.json`, or the `image_processor` within a `processor_config.json`. */
export function readPictureProcessor(outer: ConfigReader): PictureProcessor {
  const nested = (reader: ConfigReader, name: string) =>
    new ConfigReader((reader.json[name] ?? {}) as Record<string, unknown>, reader.origin);
  const config = outer.json['image_processor'] === undefined ? outer : nested(outer, 'image_processor');
  config.requires('do_resize', true);
  config.requires('do_rescale', true);
  config.requires('do_normalize', true);
  config.requires('resample', 3);
  config.rejectUnsupported();
  // Files older than Transformers 5 have the bounds beside `size`, which they then replace.
  const size = nested(config, 'size');
  const bound = (name: string, edge: string, fallback: number) =>
    config.integer(name, size.integer(name, size.integer(edge, fallback, bounds), bounds), bounds);
  return {
    patch: config.count('patch_size', 14),
    frames: config.count('temporal_patch_size', 2),
    merge: config.count('merge_size', 2),
    minPixels: bound('min_pixels', 'shortest_edge', 56 ** 2),
    maxPixels: bound('max_pixels', 'longest_edge', 28 ** 2 * 1280),
    scale: config.positive('rescale_factor', 1 / 255),
    mean: config.numbers('image_mean', [0.48145466, 0.4578275, 0.40821073]),
    std: config.positives('image_std', [0.26862954, 0.26130258, 0.27577711]),
  };
}

const bounds = { min: 1, max: 2 ** 31 };

/** Pictures as patches, one after the other. */
export interface PatchedPictures {
  /** [patches, 3 · frames · rows · columns]. */
  pixel_values: Tensor;
  /** Frames, rows and columns of every picture, in patches: [pictures, 3]. */
  image_grid_thw: Tensor;
  /** Tokens of every picture. */
  tokens: readonly number[];
}

/** @throws DejaDitError INVALID_ARGUMENT for a picture that is too long */
export async function patchPictures(images: readonly Image[], processor: PictureProcessor): Promise<PatchedPictures> {
  const { patch, merge } = processor;
  const sized = await Promise.all(
    images.map(({ width, height }, i) => images[i]!.resize(...fittingSize({ width, height }, processor), torchCubic)),
  );
  const grids = sized.map(({ width, height }) => [1, height / patch, width / patch]);
  const values = sized.map((image) => patches(image, processor));
  const perPatch = 3 * processor.frames * patch ** 2;
  return {
    pixel_values: join(
      values.map((own) => floatTensor(own, [own.length / perPatch, perPatch])),
      0,
    ),
    image_grid_thw: intTensor(grids.flat(), [images.length, 3]),
    tokens: grids.map(([, rows, columns]) => (rows! * columns!) / merge ** 2),
  };
}

const torchCubic = { kernel: 'cubic', rounding: 'torch' } as const;

/** Width and height in whole tokens within the bounds, near the picture's own ratio. */
function fittingSize(
  { width, height }: { width: number; height: number },
  { patch, merge, minPixels, maxPixels }: PictureProcessor,
): [number, number] {
  if (Math.max(width, height) > 200 * Math.min(width, height))
    throw new DejaDitError('INVALID_ARGUMENT', `a picture of ${width} x ${height} pixels is too long, at most 1:200`, {
      path: 'image',
    });
  const token = patch * merge;
  const tokens = (edge: number, round: (value: number) => number) => Math.max(1, round(edge / token)) * token;
  const nearest = [width, height].map((edge) => roundHalfEven(edge / token) * token) as [number, number];
  const pixels = nearest[0] * nearest[1];
  if (pixels > maxPixels) {
    const scale = Math.sqrt((width * height) / maxPixels);
    return [tokens(width / scale, Math.floor), tokens(height / scale, Math.floor)];
  }
  if (pixels >= minPixels) return nearest;
  const scale = Math.sqrt(minPixels / (width * height));
  return [tokens(width * scale, Math.ceil), tokens(height * scale, Math.ceil)];
}

/** The patches of a picture, the merge×merge ones that become a token after each other: channels, frames, rows, columns of each. */
function patches(image: Image, { patch, frames, merge, scale, mean, std }: PictureProcessor): Float32Array {
  const [rows, columns] = [image.height / patch, image.width / patch];
  // Rounded to float32 after every operation, as PyTorch computes it.
  const scaled = (values: readonly number[]) => values.map((value) => Math.fround(Math.fround(value) * (1 / scale)));
  const [means, stds] = [scaled(mean), scaled(std)];
  const out = new Float32Array(rows * columns * 3 * frames * patch ** 2);
  let at = 0;
  for (let token = 0; token < (rows * columns) / merge ** 2; token++) {
    const [down, across] = [Math.floor(token / (columns / merge)) * merge, (token % (columns / merge)) * merge];
    for (let i = 0; i < merge ** 2; i++) {
      const [top, left] = [(down + Math.floor(i / merge)) * patch, (across + (i % merge)) * patch];
      for (let c = 0; c < 3; c++)
        for (let frame = 0; frame < frames; frame++)
          for (let y = 0; y < patch; y++)
            for (let x = 0; x < patch; x++) {
              const level = image.data[((top + y) * image.width + left + x) * image.channels + c]!;
              out[at++] = Math.fround(level - means[c]!) / stds[c]!;
            }
    }
  }
  return out;
}
