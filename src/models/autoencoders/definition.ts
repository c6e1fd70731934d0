/**
 * What an autoencoder family says about itself: graphs for `encode` and `decode`, and the few numbers that pipelines need
 * to know about its latents. Tiling, slicing and sampling are the same for all and live in `autoencoder.ts`.
 */
import type { ConfigReader } from '../config-reader.ts';
import {
  type BoundModel,
  defineModel,
  type FunctionDefinition,
  type GraphModelDefinition,
  type GraphModelFamily,
} from '../graph-model.ts';

export interface Tiles {
  /** Edge of a tile in image pixels. */
  size: number;
  /** Share of a tile that overlaps the next. */
  overlap: number;
}

/** Facts about the latents. Pipelines normalise with them; `encode` and `decode` work on raw latents. */
export interface LatentTraits {
  readonly latentChannels: number;
  /** Pixels per latent along height and width. */
  readonly spatialScale: number;
  /** Edge in pixels of what it was trained on, where its config says so. */
  readonly sampleSize?: number;
  /** Frames per latent frame after the first; left out by autoencoders of images. */
  readonly temporalScale?: number;
  /** Frames that so many latent frames are decoded to. Default: 1 + (latents − 1) · temporalScale. */
  decodedFrames?(latents: number): number;
  /** Whether `decode` removes noise, and is told how much there is. Default: not. */
  readonly timed?: boolean;
  /** Whether videos are worked on as a whole, and not frame by frame. Default: not. */
  readonly wholeVideos?: boolean;
  /** raw latents · scalingFactor is what transformers see, after `shiftFactor` was subtracted. */
  readonly scalingFactor: number;
  /** The same of pictures that a transformer gets beside a video's latents. Default: `scalingFactor`. */
  readonly pictureScalingFactor?: number;
  readonly shiftFactor: number;
  /** Per channel, where latents are normalised so instead. */
  readonly latentsMean?: readonly number[];
  readonly latentsStd?: readonly number[];
  /** Edge of the patches of latents whose pixels are the channels that are normalised, [B, C·patch², h/patch, w/patch]. Default 1. */
  readonly latentPatch?: number;
  /** Whether decoded pixels are cut off at -1 and 1. It happens after tiles are blended, so not in the graph. */
  readonly clampsImage?: boolean;
  /** Diffusers' default tiles. */
  readonly tiles: Tiles;
  /** Memory in use at the peak of decoding, per image pixel, for so many latent frames (1 for images). Measured, rounded up. */
  bytesPerPixel(frames: number): number;
}

export interface AutoencoderDefinition<Config> extends GraphModelDefinition<Config> {
  readonly functions: Readonly<Record<'encode' | 'decode', FunctionDefinition<Config>>> & {
    /** Where latents are normalised with what lies among the weights: their `mean` and `deviation`, per channel. */
    readonly statistics?: FunctionDefinition<Config>;
  };
  traits(config: Config): LatentTraits;
}

/** An autoencoder bound to one checkpoint's config. */
export type BoundAutoencoder = BoundModel & { readonly traits: LatentTraits };

export interface AutoencoderFamily extends GraphModelFamily {
  configure(config: ConfigReader): BoundAutoencoder;
}

export function isAutoencoder(model: BoundModel): model is BoundAutoencoder {
  return 'traits' in model;
}

export function defineAutoencoder<Config>(definition: AutoencoderDefinition<Config>): AutoencoderFamily {
  // One latent's pixels; of videos, the first frame and what follows it.
  const sizes = {
    encode: ({ spatialScale: size, temporalScale = 0 }: LatentTraits) => ({
      height: size,
      width: size,
      frames: 1 + temporalScale,
    }),
    decode: () => ({ frames: 2 }),
  };
  const smallest = (name: keyof typeof sizes) => ({
    ...definition.functions[name],
    smallestCalls: (config: Config) => [{ sizes: sizes[name](definition.traits(config)) }],
  });
  const functions = { ...definition.functions, encode: smallest('encode'), decode: smallest('decode') };
  const model = defineModel({ ...definition, functions });
  return {
    className: definition.className,
    configure: (reader) => ({
      ...model.configure(reader),
      traits: definition.traits(definition.parseConfig(reader)),
    }),
  };
}
