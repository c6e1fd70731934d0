/**
 * `Autoencoder`: latents to pixels and back, for every family. Batches are worked through one by one and large images in
 * tiles, so that memory is bounded by one tile. Normalising latents (scaling and shift factors) is up to pipelines.
 */
import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import type { Generator } from '../../tensor/generator.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { type LoadOptions, loadModel } from '../auto-model.ts';
import { ConfigReader } from '../config-reader.ts';
import { GraphModel } from '../graph-model.ts';
import { checkInputs } from '../inputs.ts';
import type { LatentTraits, Tiles } from './definition.ts';
import { autoencoderFamilies } from './families.ts';
import { sampleGaussian } from './gaussian.ts';
import { processTiles, tileStarts } from './tiling.ts';

export interface AutoencoderOptions {
  /**
   * Whether images larger than a tile are worked on in overlapping tiles, which bounds memory but changes the result a
   * little. `true`: Diffusers' default tiles. `'auto'`: from more than `autoTileSize`² pixels on. Default `'auto'`.
   */
  tiling?: boolean | 'auto' | Tiles;
  /** Checked between tiles and between images. */
  signal?: AbortSignal | undefined;
  /** Called after every tile (or image) with the number done and the number in all. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface EncodeOptions extends AutoencoderOptions {
  /** Samples the latents with this generator, as Diffusers' `latent_dist.sample(generator)`. Default: their mean. */
  generator?: Generator | undefined;
}

/**
 * `tiling: 'auto'` cuts images of more than this many pixels squared into tiles of this edge. A decoder of FLUX's size peaks
 * at about 4 KB of activations per pixel, so 1024² (which FLUX was trained at) needs some 4.5 GB, and nothing needs more.
 */
export const autoTileSize = 1024;

export class Autoencoder {
  readonly traits: LatentTraits;

  constructor(readonly model: GraphModel) {
    const family = autoencoderFamilies.find(({ className }) => className === model.className);
    if (!family) {
      const known = autoencoderFamilies.map(({ className }) => className).join(', ');
      throw new DejaDitError('UNSUPPORTED', `${model.className} is no autoencoder; known: ${known}`);
    }
    this.traits = family.traits(new ConfigReader(model.config, model.weights.origin));
  }

  /** @throws DejaDitError naming the file, field or tensor that is wrong */
  static async fromPretrained(folder: string, options: LoadOptions = {}): Promise<Autoencoder> {
    const model = await loadModel(folder, options);
    try {
      if (model instanceof GraphModel) return new Autoencoder(model);
      throw new DejaDitError('UNSUPPORTED', `${model.className} is a transformer, not an autoencoder`, {
        path: folder,
      });
    } catch (error) {
      await model.dispose();
      throw error;
    }
  }

  get latentChannels(): number {
    return this.traits.latentChannels;
  }

  /** Pixels per latent along height and width. */
  get spatialScale(): number {
    return this.traits.spatialScale;
  }

  get scalingFactor(): number {
    return this.traits.scalingFactor;
  }

  get shiftFactor(): number {
    return this.traits.shiftFactor;
  }

  /** Raw latents [B, C, h, w] (scaling and shift undone) → image [B, 3, h·scale, w·scale], about -1 to 1. */
  async decode(latents: Tensor, options: AutoencoderOptions = {}): Promise<Tensor> {
    const { spatialScale } = this.traits;
    return this.eachImage(this.checked('decode', 'latents', latents), options, {
      scale: spatialScale,
      pixels: spatialScale,
      run: async (tile) => (await this.model.call('decode', { latents: tile }, options.signal)).image!,
    });
  }

  /** Image [B, 3, H, W] from -1 to 1 → raw latents [B, C, H / scale, W / scale]: their mean, or a sample. */
  async encode(image: Tensor, { generator, ...options }: EncodeOptions = {}): Promise<Tensor> {
    let deterministic = false;
    const moments = await this.eachImage(this.checked('encode', 'image', image), options, {
      scale: 1 / this.traits.spatialScale,
      pixels: 1,
      run: async (tile) => {
        const { mean, logvar } = await this.model.call('encode', { image: tile }, options.signal);
        deterministic = logvar === undefined;
        return logvar ? join([mean!, logvar], 1) : mean!;
      },
    });
    if (deterministic) return moments;
    const [mean, logvar] = halves(moments);
    return generator ? sampleGaussian(mean, logvar, generator) : mean;
  }

  dispose(): Promise<void> {
    return this.model.dispose();
  }

  /** The input as float32, refused by name before anything is cut out of it. */
  private checked(fn: 'decode' | 'encode', name: string, tensor: Tensor): Tensor {
    return checkInputs(this.model.definition.functions[fn]!.inputs, { [name]: tensor })[name]!;
  }

  private async eachImage(x: Tensor, options: AutoencoderOptions, { scale, pixels, run }: Direction): Promise<Tensor> {
    const { tiling = 'auto', signal, onProgress } = options;
    const [height, width] = x.shape.slice(-2) as [number, number];
    const grid = this.tileGrid(tiling, { height: height * pixels, width: width * pixels });
    const tiles = grid && { scale, size: grid.size / pixels, stride: grid.stride / pixels };
    const count = tiles ? tileStarts(height, tiles).length * tileStarts(width, tiles).length : 1;
    const total = x.shape[0]! * count;
    let done = 0;
    const process = async (part: Tensor): Promise<Tensor> => {
      throwIfAborted(signal);
      const result = await run(part);
      onProgress?.(++done, total);
      return result;
    };
    const results: Tensor[] = [];
    for (const image of images(x))
      results.push(await (tiles ? processTiles(image, { ...tiles, process }) : process(image)));
    return join(results, 0);
  }

  /** Tile and stride in image pixels, multiples of the latents' scale; undefined where the image is worked on in one go. */
  private tileGrid(tiling: boolean | 'auto' | Tiles, { height, width }: { height: number; width: number }) {
    const { spatialScale, tiles } = this.traits;
    if (tiling === false || (tiling === 'auto' && height * width <= autoTileSize ** 2)) return undefined;
    const { size, overlap } =
      typeof tiling === 'object' ? tiling : tiling === 'auto' ? { ...tiles, size: autoTileSize } : tiles;
    const latents = Math.floor(size / spatialScale);
    const stride = Math.floor(latents * (1 - overlap));
    if (!(overlap >= 0 && stride >= 1)) {
      throw new DejaDitError(
        'INVALID_ARGUMENT',
        `tiles of ${size} pixels with overlap ${overlap} are too small; latents are ${spatialScale} pixels apart`,
        { path: 'tiling' },
      );
    }
    if (height <= size && width <= size) return undefined;
    return { size: latents * spatialScale, stride: stride * spatialScale };
  }
}

/** How `eachImage` works on one image or tile. */
interface Direction {
  /** Output size / input size. */
  scale: number;
  /** Image pixels per input element. */
  pixels: number;
  run(part: Tensor): Promise<Tensor>;
}

/** The entries of a batch, each as a batch of one over the same memory. */
function images(x: Tensor): Tensor[] {
  const [batch, ...shape] = x.shape as [number, ...number[]];
  const size = x.size / batch;
  const data = x.data as Float32Array;
  return Array.from({ length: batch }, (_, i) => floatTensor(data.subarray(i * size, (i + 1) * size), [1, ...shape]));
}

/** Joins tensors whose axes before `axis` have size 1, so that their memory is simply concatenated. */
function join(tensors: readonly Tensor[], axis: number): Tensor {
  const [first] = tensors as [Tensor];
  if (tensors.length === 1) return first;
  const data = new Float32Array(first.size * tensors.length);
  for (const [i, tensor] of tensors.entries()) data.set(tensor.data as Float32Array, i * first.size);
  return floatTensor(
    data,
    first.shape.map((dim, i) => (i === axis ? dim * tensors.length : dim)),
  );
}

/** Splits axis 1 of [B, 2·C, …] in two. */
function halves(x: Tensor): [Tensor, Tensor] {
  const parts = images(x).map(({ data, shape }) => {
    const half = data.length / 2;
    const halfShape = [1, shape[1]! / 2, ...shape.slice(2)];
    const values = data as Float32Array;
    return [floatTensor(values.subarray(0, half), halfShape), floatTensor(values.subarray(half), halfShape)] as const;
  });
  return [
    join(
      parts.map(([mean]) => mean),
      0,
    ),
    join(
      parts.map(([, logvar]) => logvar),
      0,
    ),
  ];
}
