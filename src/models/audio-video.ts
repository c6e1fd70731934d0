/** The two results of models that make sound with a video, as the one tensor that a graph returns. */
import { concat } from '../graph/ops.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import { cut } from '../tensor/slices.ts';
import { type Shape, sizeOf, type Tensor } from '../tensor/tensor.ts';

/** Diffusers' `sample` and `audio_sample`. */
export interface AudioVideo {
  sample: Tensor;
  audioSample: Tensor;
}

/** [B, …] both, as [B, all values of a sample]. */
export function joinAudioVideo(video: SymbolicTensor, audio: SymbolicTensor): SymbolicTensor {
  return concat([video.reshape([video.dim(0), -1]), audio.reshape([audio.dim(0), -1])], 1);
}

/** The way back. @param video its shape */
export function splitAudioVideo(joined: Tensor, { video, audio }: { video: Shape; audio: Shape }): AudioVideo {
  const [end, total] = [sizeOf(video.slice(1)), joined.dim(1)];
  return {
    sample: cut(joined, { axis: 1, from: 0, to: end }).reshape(video),
    audioSample: cut(joined, { axis: 1, from: end, to: total }).reshape(audio),
  };
}
