/**
 * `Autoencoder`: latents to pixels and back, for every family. Batches are worked through one by one and large images in
 * tiles, so that memory is bounded by one tile. Normalising latents (scaling and shift factors) is up to pipelines.
 */
import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import type { NoiseStream } from '../../tensor/generator.ts';
import { cut, join } from '../../tensor/slices.ts';
import { floatTensor, lastDims, type Tensor } from '../../tensor/tensor.ts';
import { loadModel } from '../auto-model.ts';
import { GraphModel } from '../graph-model.ts';
import { checkInputs } from '../inputs.ts';
import type { LoadedModel } from '../load/assemble-model.ts';
import type { LoadOptions } from '../load/load-options.ts';
import { isAutoencoder, type LatentTraits, type Tiles } from './definition.ts';
import { autoencoderFamilies } from './families.ts';
import { sampleGaussian } from './gaussian.ts';
import { oneRank, sideBySide, type WorkRanks } from './side-by-side.ts';
import { processTiles, tileCount } from './tiling.ts';

export interface AutoencoderOptions {
  /**
   * Whether images larger than a tile are worked on in overlapping tiles, which bounds memory but changes the result a
   * little. `true`: Diffusers' default tiles. `'auto'`: tiles as large as `activationBytes` allows; on several ranks Diffusers', so
   * that there is something to share out. Default `'auto'`.
   */
  tiling?: boolean | 'auto' | Tiles;
  /** Checked between images, tiles and latent frames. */
  signal?: AbortSignal | undefined;
  /** Called after every one of them with the number done and the number in all. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface DecodeOptions extends AutoencoderOptions {
  /** How much noise there is in the latents, from 0 to 1, for decoders that remove it (`traits.timed`). Default 0. */
  timestep?: number | undefined;
}

export interface EncodeOptions extends AutoencoderOptions {
  /** Samples the latents with this generator, as Diffusers' `latent_dist.sample(generator)`. Default: their mean. */
  generator?: NoiseStream | undefined;
  /** Samples to draw, a multiple of the images; these take turns and are encoded once. Default: one of each image. */
  samples?: number | undefined;
}

/**
 * Memory in use that `tiling: 'auto'` allows one image or tile besides the weights; ONNX Runtime's arena may reserve as much again.
 * It leaves whole what models were trained at: 1120² pixels for FLUX, 1670² for Qwen-Image. Videos of Wan are cut into
 * tiles of 440².
 */
export const activationBytes = 6 * 2 ** 30;

/** Tensors of one size that are in use together, at least: what one of them takes is no more than this part of all. */
const tensorsInUse = 3;
/** A GPU takes a tensor that is larger than a binding in several, of which a convolution has room for so many. */
const bindings = 3;

/**
 * Images to latents and back, whole or in tiles.
 * @example
 * await using autoencoder = await Autoencoder.fromPretrained('path/to/vae');
 * const latents = await autoencoder.encode((await Image.load('apple.png')).toTensor());
 * const [image] = [Image.fromTensor(await autoencoder.decode(latents))];
 */
export class Autoencoder {
  readonly traits: LatentTraits;
  private ranks: WorkRanks | undefined;

  private constructor(
    readonly model: GraphModel,
    statistics: Pick<LatentTraits, 'latentsMean' | 'latentsStd'>,
  ) {
    const { className, definition } = model;
    if (!isAutoencoder(definition)) {
      const known = Object.keys(autoencoderFamilies).join(', ');
      throw new DejaDitError('UNSUPPORTED', `${className} is no autoencoder; known: ${known}`);
    }
    this.traits = { ...definition.traits, ...statistics };
  }

  /** @throws DejaDitError naming the file, field or tensor that is wrong */
  static async fromPretrained(folder: string, options: LoadOptions = {}): Promise<Autoencoder> {
    return Autoencoder.of(await loadModel(folder, options));
  }

  /** Takes a loaded model over; it is disposed if it is no autoencoder. */
  static async of(model: LoadedModel): Promise<Autoencoder> {
    try {
      if (model instanceof GraphModel) return new Autoencoder(model, await statisticsOf(model));
      throw new DejaDitError('UNSUPPORTED', `${model.className} is a transformer, not an autoencoder`, {
        path: model.weights.origin,
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

  /**
   * Raw latents (scaling and shift undone) → pixels, about -1 to 1. Images: [B, C, h, w] → [B, 3, h·scale, w·scale]. Videos:
   * [B, C, t, h, w] → [B, 3, 1 + (t − 1)·temporalScale, …], frame by frame.
   */
  async decode(latents: Tensor, { timestep = 0, ...options }: DecodeOptions = {}): Promise<Tensor> {
    const { spatialScale, clampsImage, timed } = this.traits;
    const image = await this.work(latents, options, {
      name: 'decode',
      input: 'latents',
      scale: spatialScale,
      pixels: spatialScale,
      framesPerStep: 1,
      perImage: timed ? { timestep } : {},
      result: (outputs) => outputs.image!,
    });
    if (!clampsImage) return image;
    const pixels = image.f32;
    return floatTensor(
      pixels.map((value) => Math.min(1, Math.max(-1, value))),
      image.shape,
    );
  }

  /** Pixels from -1 to 1, shaped as those of `decode` → raw latents: their mean, or a sample. */
  async encode(image: Tensor, { generator, samples, ...options }: EncodeOptions = {}): Promise<Tensor> {
    const { spatialScale, temporalScale, latentChannels } = this.traits;
    const encoded = await this.work(image, options, {
      name: 'encode',
      input: 'image',
      scale: 1 / spatialScale,
      pixels: 1,
      framesPerStep: temporalScale ?? 1,
      result: ({ mean, logvar }) => (logvar ? join([mean!, logvar], 1) : mean!),
    });
    const rounds = (samples ?? encoded.dim(0)) / encoded.dim(0);
    const moments = join(Array<Tensor>(rounds).fill(encoded), 0);
    const channels = moments.dim(1);
    const mean = cut(moments, { axis: 1, from: 0, to: latentChannels });
    if (!generator || channels === latentChannels) return mean;
    return sampleGaussian(mean, cut(moments, { axis: 1, from: latentChannels, to: channels }), generator);
  }

  /**
   * Shares tiles and images out to ranks from now on.
   * @param ranks disposed when they are left; undefined: all is done by the model itself again
   * @throws DejaDitError BUSY while it is used
   */
  shareOut(ranks: WorkRanks | undefined): void {
    if (ranks === this.ranks) return;
    const unlock = this.model.occupancy.lock('moving it to other ranks');
    const before = this.ranks;
    this.ranks = ranks;
    unlock();
    void before?.dispose();
  }

  /** Whether several ranks do its work. */
  get isShared(): boolean {
    return this.ranks !== undefined;
  }

  /** Whether there are ranks, of which only one has something to do with so many pictures of a size. */
  leavesRanksIdle({ images, ...size }: VideoSize & { images: number }): boolean {
    return this.ranks !== undefined && images === 1 && !this.tileGrid('auto', size);
  }

  /** Memory in use at the peak of working on a picture, besides the weights. */
  workingBytes(size: VideoSize): number {
    const { here = 1 } = this.ranks ?? {};
    const grid = this.tileGrid('auto', size);
    const pixels = size.height * size.width;
    return Math.min(pixels, grid ? here * grid.size ** 2 : pixels) * this.traits.bytesPerPixel(size.frames);
  }

  async dispose(): Promise<void> {
    await this.ranks?.dispose();
    await this.model.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** One image after the other, tile by tile, and for videos step by step. */
  private async work(tensor: Tensor, options: AutoencoderOptions, fn: AutoencoderFunction): Promise<Tensor> {
    const x = this.checked(tensor, fn);
    const { tiling = 'auto', signal, onProgress } = options;
    const { scale, pixels, framesPerStep } = fn;
    const [height, width] = lastDims(x, 2);
    const frames = x.shape.length === 5 ? x.dim(2) : 1;
    const grid = this.tileGrid(tiling, { height: height * pixels, width: width * pixels, frames });
    const tiles = grid && { scale, size: grid.size / pixels, stride: grid.stride / pixels };
    const steps = this.traits.wholeVideos ? 1 : 1 + (frames - 1) / framesPerStep;
    const total = x.dim(0) * (tiles ? tileCount({ height, width }, tiles) : 1) * steps;
    let [done, finished] = [0, 0];
    const progress = (now: number) => {
      if (now <= done) return;
      done = now;
      onProgress?.(done, total);
    };

    const process = async (part: Tensor, model: GraphModel): Promise<Tensor> => {
      const results: Tensor[] = [];
      let history: Record<string, Tensor> = {};
      for (let step = 0; step < steps; step++) {
        throwIfAborted(signal);
        const from = step === 0 ? 0 : 1 + (step - 1) * framesPerStep;
        const inputs =
          steps === 1
            ? inputsOf(part, fn)
            : { ...inputsOf(cut(part, { axis: 2, from, to: 1 + step * framesPerStep }), fn), history };
        const outputs = await model.call(fn.name, inputs, signal);
        results.push(fn.result(outputs));
        history = Object.fromEntries(Object.entries(outputs).filter(([name]) => name.startsWith('history.')));
        progress(done + 1);
      }
      return join(results, 2);
    };
    const ranks = this.ranks ?? oneRank(this.model);
    const processAll = async function* (parts: readonly (() => Tensor)[]) {
      const pieces = parts.map((part) => (model: GraphModel) => process(part(), model));
      for await (const result of sideBySide(pieces, ranks)) {
        // Of those that other processes have worked on.
        progress(steps * ++finished);
        yield result;
      }
    };
    const pictures = Array.from({ length: x.dim(0) }, (_, i) => () => cut(x, { axis: 0, from: i, to: i + 1 }));
    const leave = this.model.occupancy.enter();
    try {
      const images: Tensor[] = [];
      if (tiles)
        for (const picture of pictures) images.push(await processTiles(picture(), { ...tiles, process: processAll }));
      else for await (const image of processAll(pictures)) images.push(image);
      return join(images, 0);
    } finally {
      leave();
    }
  }

  /** The input as float32; what the model would refuse is refused before any of it is worked on. */
  private checked(tensor: Tensor, called: AutoencoderFunction): Tensor {
    const fn = this.model.definition.functions[called.name]!;
    const given = inputsOf(tensor, called);
    const tensors = checkInputs(fn.inputs, given);
    fn.prepare(tensors, given);
    return tensors[called.input]!;
  }

  /** Tile and stride in image pixels, multiples of the latents' scale; undefined where the image is worked on in one go. */
  private tileGrid(tiling: boolean | 'auto' | Tiles, { height, width, frames }: VideoSize) {
    const { spatialScale, tiles } = this.traits;
    const { maxBinding } = this.model.programs.backend.capabilities;
    const pixels = Math.min(activationBytes, tensorsInUse * bindings * maxBinding) / this.traits.bytesPerPixel(frames);
    const isShared = this.ranks !== undefined;
    if (tiling === false || (tiling === 'auto' && !isShared && height * width <= pixels)) return undefined;
    const largest = isShared ? Math.min(tiles.size, Math.sqrt(pixels)) : Math.sqrt(pixels);
    const { size, overlap } =
      typeof tiling === 'object' ? tiling : tiling === 'auto' ? { ...tiles, size: largest } : tiles;
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

function inputsOf(tensor: Tensor, { input, perImage = {} }: AutoencoderFunction): Record<string, Tensor> {
  const each = (value: number) => floatTensor(new Float32Array(tensor.dim(0)).fill(value));
  return {
    [input]: tensor,
    ...Object.fromEntries(Object.entries(perImage).map(([name, value]) => [name, each(value)])),
  };
}

/** What its weights say of its latents. */
async function statisticsOf(model: GraphModel): Promise<Pick<LatentTraits, 'latentsMean' | 'latentsStd'>> {
  if (!model.definition.functions['statistics']) return {};
  const { mean, deviation } = await model.call('statistics', {});
  return { latentsMean: [...mean!.f32], latentsStd: [...deviation!.f32] };
}

interface VideoSize {
  height: number;
  width: number;
  frames: number;
}

/** What `decode` and `encode` differ in. */
interface AutoencoderFunction {
  name: 'decode' | 'encode';
  /** Name of its input, and what of its outputs is wanted. */
  input: 'latents' | 'image';
  /** Further inputs, the same for every image. */
  perImage?: Readonly<Record<string, number>>;
  result(outputs: Record<string, Tensor>): Tensor;
  /** Output size / input size. */
  scale: number;
  /** Image pixels per input element. */
  pixels: number;
  /** Input frames worked on at a time, after the first. */
  framesPerStep: number;
}
