/**
 * Convolution over time that sees no later frame. A video may so be worked on in chunks: every layer remembers the last frames it
 * was given, and the next chunk continues as if there had been no cut.
 */
import { concat, conv, pad } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { layer, type Module } from '../../../nn/module.ts';

/** What the layers remember of the chunk before, by module path. */
export class History {
  private readonly remembered = new Map<string, SymbolicTensor>();

  /** @param previous left out for the first chunk, which is one frame */
  constructor(private readonly previous?: ReadonlyMap<string, SymbolicTensor>) {}

  /** Whether this is the video's first frame. */
  get first(): boolean {
    return this.previous === undefined;
  }

  recall(m: Module): SymbolicTensor {
    return this.previous?.get(m.path) ?? m.graph.fail(`the history of ${m.path} is missing`);
  }

  remember(m: Module, frames: SymbolicTensor): void {
    this.remembered.set(m.path, frames);
  }

  get entries(): ReadonlyMap<string, SymbolicTensor> {
    return this.remembered;
  }

  next(): History {
    return new History(this.remembered);
  }
}

/**
 * Convolution with a cubic kernel of 3 that keeps the size of x [B, C, T, H, W]: two frames of history (zeros before the
 * video's beginning), one pixel of padding around each frame.
 */
export const causalConvolution = layer(
  (m, x: SymbolicTensor, outChannels: number, history: History): SymbolicTensor => {
    const weight = m.weight('weight', [outChannels, x.dim(1), 3, 3, 3]);
    const bias = m.weight('bias', [outChannels]);
    const padding = [0, 1, 1];
    if (history.first) {
      history.remember(m, pad(x, [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]));
      // Of the kernel's three frames, two would meet zeros.
      return conv(x, { weight: weight.slice(2, 2), bias, padding });
    }
    const frames = concat([history.recall(m), x], 2);
    history.remember(m, frames.slice(2, -2));
    return conv(frames, { weight, bias, padding });
  },
);

/** Twice as many frames: x [B, C, T, H, W] → [B, C, 2·T, H, W]. The video's first frame stays one frame. */
export const doubleFrames = layer((m, x: SymbolicTensor, history: History): SymbolicTensor => {
  const [batch, channels, time, height, width] = x.shape as [number, number, number, number, number];
  if (history.first) {
    // It is not seen by the next frame either.
    history.remember(m, x.graph.scalar(0).expand([batch, channels, 2, height, width]));
    return x;
  }
  const frames = concat([history.recall(m), x], 2);
  history.remember(m, frames.slice(2, -2));
  const pairs = conv(frames, {
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
  const channels = x.dim(1);
  history.remember(m, x.slice(2, -1));
  if (history.first) return x;
  return conv(concat([history.recall(m), x], 2), {
    weight: m.weight('weight', [channels, channels, 3, 1, 1]),
    bias: m.weight('bias', [channels]),
    stride: [2, 1, 1],
  });
});
