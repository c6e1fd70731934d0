/** Convolution layers. */

import { type ConvOptions, conv } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { dims } from '../tensor/tensor.ts';
import type { BiasOption } from './linear.ts';
import { layer } from './module.ts';

export interface ConvolutionOptions extends BiasOption, Pick<ConvOptions, 'stride' | 'padding' | 'groups'> {
  outChannels: number;
  /** Size of the kernel, the same for every spatial axis or one per axis. */
  kernel: number | readonly number[];
}

/** `nn.Conv1d` to `nn.Conv3d`: x [N, C, …] → [N, outChannels, …]. */
export const convolution = layer(
  (m, x: SymbolicTensor, { outChannels, kernel, bias = true, ...options }: ConvolutionOptions): SymbolicTensor => {
    const sizes = typeof kernel === 'number' ? Array<number>(x.rank - 2).fill(kernel) : kernel;
    return conv(x, {
      ...options,
      weight: m.weight('weight', [outChannels, x.dim(1) / (options.groups ?? 1), ...sizes]),
      bias: bias ? m.weight('bias', [outChannels]) : undefined,
    });
  },
);

export interface GatedConvolutionOptions {
  /** Width of the hidden layer. */
  inner: number;
  outChannels: number;
}

/**
 * "GLUMBConv" of Sana, an inverted bottleneck (MobileNetV2, arXiv 1801.04381) with a gate: widen, look at the 3×3 neighbours of
 * each channel, multiply one half with the other's SiLU, narrow. x [B, C, H, W].
 */
export const gatedConvolution = layer(
  (m, x: SymbolicTensor, { inner, outChannels }: GatedConvolutionOptions): SymbolicTensor => {
    const wide = convolution(m.at('conv_inverted'), x, { outChannels: 2 * inner, kernel: 1 }).silu();
    const neighbours = { outChannels: 2 * inner, kernel: 3, padding: 1, groups: 2 * inner };
    const [value, gate] = convolution(m.at('conv_depth'), wide, neighbours).chunk(2, 1);
    return convolution(m.at('conv_point'), value.mul(gate.silu()), { outChannels, kernel: 1, bias: false });
  },
);

/** Moves pixels of factor×factor squares into channels: x [B, C, H, W] → [B, C·factor², H / factor, W / factor], channels first. */
export function pixelUnshuffle(x: SymbolicTensor, factor: number): SymbolicTensor {
  const [batch, channels, height, width] = dims(x, 4);
  return x
    .reshape([batch, channels, height / factor, factor, width / factor, factor])
    .transpose([0, 1, 3, 5, 2, 4])
    .reshape([batch, channels * factor ** 2, height / factor, width / factor]);
}

/** The inverse of `pixelUnshuffle`: [B, C·factor², H, W] → [B, C, H·factor, W·factor]. */
export function pixelShuffle(x: SymbolicTensor, factor: number): SymbolicTensor {
  const [batch, channels, height, width] = dims(x, 4);
  return x
    .reshape([batch, channels / factor ** 2, factor, factor, height, width])
    .transpose([0, 1, 4, 2, 5, 3])
    .reshape([batch, channels / factor ** 2, height * factor, width * factor]);
}
