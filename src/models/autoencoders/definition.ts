/**
 * What an autoencoder family says about itself: graphs for `encode` and `decode`, and the few numbers that pipelines need
 * to know about its latents. Tiling, slicing and sampling are the same for all and live in `autoencoder.ts`.
 */
import type { ConfigReader } from '../config-reader.ts';
import { defineModel, type GraphModelDefinition, type GraphModelFamily } from '../graph-model.ts';

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
  /** Frames per latent frame after the first; left out by autoencoders of images. */
  readonly temporalScale?: number;
  /** raw latents · scalingFactor is what transformers see, after `shiftFactor` was subtracted. */
  readonly scalingFactor: number;
  readonly shiftFactor: number;
  /** Per channel, where latents are normalised so instead. */
  readonly latentsMean?: readonly number[];
  readonly latentsStd?: readonly number[];
  /** Diffusers' default tiles. */
  readonly tiles: Tiles;
  /** Activations that decoding one image pixel takes at its peak; for videos, one pixel of the frames worked on together. */
  readonly bytesPerPixel: number;
}

export interface AutoencoderDefinition<Config> extends GraphModelDefinition<Config> {
  traits(config: Config): LatentTraits;
}

export interface AutoencoderFamily extends GraphModelFamily {
  traits(config: ConfigReader): LatentTraits;
}

export function defineAutoencoder<Config>(definition: AutoencoderDefinition<Config>): AutoencoderFamily {
  return {
    ...defineModel(definition),
    traits: (reader) => definition.traits(definition.parseConfig(reader)),
  };
}
