/**
 * Convolution over time that sees no later frame. A video may so be worked on in chunks: every layer remembers the last frames it
 * was given, and the next chunk continues as if there had been no cut.
 */

import { concat, conv, pad } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { convolution } from '../../../nn/conv.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { dims } from '../../../tensor/tensor.ts';

export interface HistoryOptions {
  /** What the chunk before has left; nothing for the first chunk, which is one frame. */
  previous?: ReadonlyMap<string, SymbolicTensor> | undefined;
  /** Whether a chunk comes after. */
  keep: boolean;
  /** Whether the model knows single frames only, with kernels in two dimensions. Default: videos. */
  ofPictures?: boolean;
}

/**
 * What the layers remember of the chunk before, and what they leave to the next; by module path.
 *
 * What is remembered is also used: ONNX Runtime runs last what nothing else depends on, and would hold every layer's input until
 * then, half of all memory.
 */
export class History {
  private readonly remembered = new Map<string, SymbolicTensor>();

  constructor(private readonly options: HistoryOptions) {}

  /** Whether this is the video's first frame. */
  get first(): boolean {
    return this.options.previous === undefined;
  }

  get ofPictures(): boolean {
    return this.options.ofPictures ?? false;
  }

  get entries(): ReadonlyMap<string, SymbolicTensor> {
    return this.remembered;
  }

  /** The video's first frame x [B, C, 1, H, W], remembered with a frame of zeros before it. */
  begin(m: Module, x: SymbolicTensor): SymbolicTensor {
    if (!this.options.keep) return x;
    const last = pad(x, [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    this.remember(m, last);
    return last.slice(2, -1);
  }

  remember(m: Module, frames: SymbolicTensor): void {
    if (this.options.keep) this.remembered.set(m.path, frames);
  }

  /** The chunk x [B, C, T, H, W] with the `count` frames before it; remembers its last ones. */
  lookBack(m: Module, x: SymbolicTensor, count: number): SymbolicTensor {
    const before = this.options.previous?.get(m.path) ?? m.graph.fail(`the history of ${m.path} is missing`);
    if (!this.options.keep) return concat([before, x], 2);
    const time = x.dim(2);
    const last = time < count ? concat([before.slice(2, time), x], 2) : x.slice(2, -count);
    this.remember(m, last);
    return concat(time > count ? [before, x.slice(2, 0, time - count), last] : [before.slice(2, 0, time), last], 2);
  }
}

/**
 * Convolution with a cubic kernel of 3 that keeps the size of x [B, C, T, H, W]: two frames of history (zeros before the
 * video's beginning), one pixel of padding around each frame.
 */
export const causalConvolution = layer(
  (m, x: SymbolicTensor, outChannels: number, history: History): SymbolicTensor => {
    if (history.ofPictures) return conv(x, { ...frameKernel(m, x.dim(1), outChannels), padding: [0, 1, 1] });
    const weight = m.weight('weight', [outChannels, x.dim(1), 3, 3, 3]);
    const bias = m.weight('bias', [outChannels]);
    const padding = [0, 1, 1];
    if (!history.first) return conv(history.lookBack(m, x, 2), { weight, bias, padding });
    // Of the kernel's three frames, two would meet zeros.
    return conv(history.begin(m, x), { weight: weight.slice(2, 2), bias, padding });
  },
);

/** A linear layer over the channels of every pixel of x [B, C, T, H, W]. */
export function pointConvolution(m: Module, x: SymbolicTensor, outChannels: number, history: History): SymbolicTensor {
  if (!history.ofPictures) return convolution(m, x, { outChannels, kernel: 1 });
  return conv(x, frameKernel(m, x.dim(1), outChannels, 1));
}

/** A square convolution of single frames, stored in two dimensions. */
export function frameKernel(
  m: Module,
  channels: number,
  width: number,
  edge = 3,
): { weight: SymbolicTensor; bias: SymbolicTensor } {
  const weight = m.weight('weight', [width, channels, edge, edge]).reshape([width, channels, 1, edge, edge]);
  return { weight, bias: m.weight('bias', [width]) };
}

/** Twice as many frames: x [B, C, T, H, W] → [B, C, 2·T, H, W]. The video's first frame stays one frame. */
export const doubleFrames = layer((m, x: SymbolicTensor, history: History): SymbolicTensor => {
  const [batch, channels, time, height, width] = dims(x, 5);
  if (history.first) {
    // Nor does the next frame see it.
    history.remember(m, x.graph.scalar(0).expand([batch, channels, 2, height, width]));
    return x;
  }
  const pairs = conv(history.lookBack(m, x, 2), {
    weight: m.weight('weight', [2 * channels, channels, 3, 1, 1]),
    bias: m.weight('bias', [2 * channels]),
  });
  return pairs
    .reshape([batch, 2, channels, time, height, width])
    .transpose([0, 2, 3, 1, 4, 5])
    .reshape([batch, channels, 2 * time, height, width]);
});

/** Half as many frames: x [B, C, T, H, W] → [B, C, T / 2, H, W]. The video's first frame stays one frame. */
export const halveFrames = layer((m, x: SymbolicTensor, history: History): SymbolicTensor => {
  if (history.first) {
    history.remember(m, x);
    return x;
  }
  const channels = x.dim(1);
  return conv(history.lookBack(m, x, 1), {
    weight: m.weight('weight', [channels, channels, 3, 1, 1]),
    bias: m.weight('bias', [channels]),
    stride: [2, 1, 1],
  });
});
