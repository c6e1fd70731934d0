/** Convolution layers. */
import { type ConvOptions, conv } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { layer } from './module.ts';

export interface ConvolutionOptions extends Pick<ConvOptions, 'stride' | 'padding' | 'groups'> {
  outChannels: number;
  /** Size of the kernel, the same for every spatial axis or one per axis. */
  kernel: number | readonly number[];
}

/** `nn.Conv1d` to `nn.Conv3d`: x [N, C, …] → [N, outChannels, …]. The bias is used if the checkpoint has one. */
export const convolution = layer(
  (m, x: SymbolicTensor, { outChannels, kernel, ...options }: ConvolutionOptions): SymbolicTensor => {
    const sizes = typeof kernel === 'number' ? Array<number>(x.rank - 2).fill(kernel) : kernel;
    return conv(x, {
      ...options,
      weight: m.weight('weight', [outChannels, x.dim(1) / (options.groups ?? 1), ...sizes]),
      bias: m.optionalWeight('bias', [outChannels]),
    });
  },
);
