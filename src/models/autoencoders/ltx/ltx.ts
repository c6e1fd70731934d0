/**
 * LTX-Video's autoencoder (arXiv 2501.00103), Diffusers' `AutoencoderKLLTXVideo` as of 0.9.0: 32×32 pixels of 8 frames are one latent.
 * Pixels of 4×4 squares are channels from the start; levels halve time and space together. The encoder sees no later frame, the decoder
 * may. Works on whole videos.
 *
 * Notation: x [B, C, T, H, W]. Latents are normalised with statistics among the weights.
 */
import { concat, conv, rmsNormalization } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { layerNorm } from '../../../nn/norms.ts';
import { dims } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import { defineAutoencoder } from '../definition.ts';
import { gaussian } from '../gaussian.ts';
import { booleans } from '../levels.ts';
import { fromPatches, toPatches } from '../wan/shuffle.ts';

interface LtxPyramid {
  /** Channels of each level, from the image to the latents. */
  widths: readonly number[];
  /** Residual blocks of each level, and of the middle. */
  layers: readonly number[];
  /** Whether a level halves time and space. */
  scaling: readonly boolean[];
  causal: boolean;
}

interface LtxConfig {
  imageChannels: number;
  latentChannels: number;
  patch: number;
  encoder: LtxPyramid;
  decoder: LtxPyramid;
  epsilon: number;
  scalingFactor: number;
}

export const autoencoderKlLtx = defineAutoencoder<LtxConfig>({
  className: 'AutoencoderKLLTXVideo',
  parseConfig,

  traits: (config) => {
    const halvings = config.encoder.scaling.filter(Boolean).length;
    return {
      latentChannels: config.latentChannels,
      spatialScale: config.patch * 2 ** halvings,
      temporalScale: 2 ** halvings,
      wholeVideos: true,
      scalingFactor: config.scalingFactor,
      shiftFactor: 0,
      tiles: { size: 512, overlap: 0.125 },
      // Four tensors of the widest level next to the image, for every frame.
      bytesPerPixel: (frames) =>
        (16 * config.decoder.widths[0]! * (1 + (frames - 1) * 2 ** halvings)) / config.patch ** 2,
    };
  },

  functions: {
    statistics: {
      inputs: () => [],
      build: (m, _, { latentChannels }) => ({
        mean: m.weight('latents_mean', [latentChannels]).add(0),
        deviation: m.weight('latents_std', [latentChannels]).add(0),
      }),
    },
    encode: {
      inputs: ({ imageChannels }) => [
        { name: 'image', kind: 'float', shape: ['batch', imageChannels, 'frames', 'height', 'width'] },
      ],
      build: (m, { image }, config) => {
        const moments = encoder(m.at('encoder'), toPatches(image!, config.patch), config);
        // One variance for all channels.
        const variance = moments.slice(1, -1);
        return gaussian(concat([moments, ...Array<SymbolicTensor>(config.latentChannels - 1).fill(variance)], 1));
      },
    },
    decode: {
      inputs: ({ latentChannels }) => [
        { name: 'latents', kind: 'float', shape: ['batch', latentChannels, 'frames', 'height', 'width'] },
      ],
      build: (m, { latents }, config) => ({
        image: fromPatches(decoder(m.at('decoder'), latents!, config), config.patch),
      }),
    },
  },
});

function parseConfig(config: ConfigReader): LtxConfig {
  config.requires('timestep_conditioning', false);
  config.requires('patch_size_t', 1);
  const widths = config.integers('block_out_channels', [128, 256, 512, 512]);
  const levels = widths.length;
  config.requires('down_block_types', Array(levels).fill('LTXVideoDownBlock3D'));
  config.requires('downsample_type', Array(levels).fill('conv'));
  config.requires('decoder_inject_noise', Array(levels + 1).fill(false));
  config.requires('upsample_residual', Array(levels).fill(false));
  config.requires('upsample_factor', Array(levels).fill(1));
  const scaling = [true, true, true, false];
  return {
    imageChannels: config.integer('in_channels', 3),
    latentChannels: config.integer('latent_channels', 128),
    patch: config.count('patch_size', 4),
    encoder: {
      widths,
      layers: config.counts('layers_per_block', [4, 3, 3, 3, 4]),
      scaling: booleans(config, 'spatio_temporal_scaling', scaling),
      causal: config.boolean('encoder_causal', true),
    },
    decoder: {
      widths: config.integers('decoder_block_out_channels', [128, 256, 512, 512]),
      layers: config.counts('decoder_layers_per_block', [4, 3, 3, 3, 4]),
      scaling: booleans(config, 'decoder_spatio_temporal_scaling', scaling),
      causal: config.boolean('decoder_causal', false),
    },
    epsilon: config.positive('resnet_norm_eps', 1e-6),
    scalingFactor: config.positive('scaling_factor', 1),
  };
}

interface Block {
  causal: boolean;
  epsilon: number;
}

const encoder = layer((m, image: SymbolicTensor, { encoder: pyramid, latentChannels, epsilon }: LtxConfig) => {
  const { widths, layers, scaling, causal } = pyramid;
  const block = { causal, epsilon };
  let x = timeConvolution(m.at('conv_in'), image, { width: widths[0]!, causal });
  for (const [level, width] of widths.entries()) {
    const down = m.at(`down_blocks.${level}`);
    x = resnets(down, x, layers[level]!, block);
    if (scaling[level])
      x = timeConvolution(down.at('downsamplers.0'), x, { width: x.dim(1), causal, stride: [2, 2, 2] });
    const next = widths[level + 1] ?? width;
    if (next !== width) x = resnet(down.at('conv_out'), x, next, block);
  }
  x = resnets(m.at('mid_block'), x, layers.at(-1)!, block);
  return timeConvolution(m.at('conv_out'), channelNorm(x).silu(), { width: latentChannels + 1, causal });
});

const decoder = layer((m, latents: SymbolicTensor, config: LtxConfig): SymbolicTensor => {
  const { imageChannels, patch, epsilon } = config;
  const { causal, ...pyramid } = config.decoder;
  const [widths, layers, scaling] = [
    pyramid.widths.toReversed(),
    pyramid.layers.toReversed(),
    pyramid.scaling.toReversed(),
  ];
  const block = { causal, epsilon };
  let x = timeConvolution(m.at('conv_in'), latents, { width: widths[0]!, causal });
  x = resnets(m.at('mid_block'), x, layers[0]!, block);
  for (const [level, width] of widths.entries()) {
    const up = m.at(`up_blocks.${level}`);
    if (x.dim(1) !== width) x = resnet(up.at('conv_in'), x, width, block);
    if (scaling[level]) x = upsample(up.at('upsamplers.0'), x, causal);
    x = resnets(up, x, layers[level + 1]!, block);
  }
  const out = channelNorm(x).silu();
  return timeConvolution(m.at('conv_out'), out, { width: imageChannels * patch ** 2, causal });
});

function resnets(m: Module, x: SymbolicTensor, count: number, block: Block): SymbolicTensor {
  let out = x;
  for (let i = 0; i < count; i++) out = resnet(m.at(`resnets.${i}`), out, x.dim(1), block);
  return out;
}

const resnet = layer((m, x: SymbolicTensor, width: number, { causal, epsilon }: Block): SymbolicTensor => {
  let hidden = timeConvolution(m.at('conv1'), channelNorm(x).silu(), { width, causal });
  hidden = timeConvolution(m.at('conv2'), channelNorm(hidden).silu(), { width, causal });
  if (x.dim(1) === width) return hidden.add(x);
  const normed = layerNorm(m.at('norm3'), x.transpose([0, 2, 3, 4, 1]), epsilon).transpose([0, 4, 1, 2, 3]);
  return hidden.add(timeConvolution(m.at('conv_shortcut'), normed, { width, causal, kernel: 1 }));
});

/** Every pixel's channels brought to mean square 1. */
function channelNorm(x: SymbolicTensor): SymbolicTensor {
  return rmsNormalization(x.transpose([0, 2, 3, 4, 1]), { epsilon: 1e-8 }).transpose([0, 4, 1, 2, 3]);
}

/** Doubles time and space; what comes before the first frame is dropped. */
const upsample = layer((m, x: SymbolicTensor, causal: boolean): SymbolicTensor => {
  const [batch, channels, time, height, width] = dims(x, 5);
  return timeConvolution(m.at('conv'), x, { width: 8 * channels, causal })
    .reshape([batch, channels, 2, 2, 2, time, height, width])
    .transpose([0, 1, 5, 2, 6, 3, 7, 4])
    .reshape([batch, channels, 2 * time, 2 * height, 2 * width])
    .slice(2, 1);
});

interface TimeConvolution {
  width: number;
  /** Whether no later frame is seen. */
  causal: boolean;
  kernel?: number;
  stride?: readonly number[];
}

/** Convolution with a cubic kernel; beyond its ends a video stands still, beyond their edges pictures are black. */
const timeConvolution = layer(
  (m, x: SymbolicTensor, { width, causal, kernel = 3, stride }: TimeConvolution): SymbolicTensor => {
    const [before, after] = causal ? [kernel - 1, 0] : [(kernel - 1) / 2, (kernel - 1) / 2];
    const first = Array<SymbolicTensor>(before).fill(x.slice(2, 0, 1));
    const last = Array<SymbolicTensor>(after).fill(x.slice(2, -1));
    const edge = (kernel - 1) / 2;
    const at = m.at('conv');
    return conv(concat([...first, x, ...last], 2), {
      weight: at.weight('weight', [width, x.dim(1), kernel, kernel, kernel]),
      bias: at.weight('bias', [width]),
      padding: [0, edge, edge],
      ...(stride ? { stride } : {}),
    });
  },
);
