/** Kandinsky's latents, whose channels come last: [B, frames, h, w, C]. */
import type { ForwardInputs } from '../../models/inputs.ts';
import { join } from '../../tensor/slices.ts';
import { dims, floatTensor, intTensor, type Tensor } from '../../tensor/tensor.ts';
import { perSample } from '../request/latents.ts';
import type { LatentLayout } from '../request/plan.ts';

export interface KandinskyLatents {
  batch: number;
  frames: number;
  rows: number;
  columns: number;
  channels: number;
}

/** Drawn as the transformer takes them, unpacked to [B, C, frames, h, w]. */
export function kandinskyLatents({ batch, frames, rows, columns, channels }: KandinskyLatents): LatentLayout {
  const shape = [batch, frames, rows, columns, channels];
  return { drawn: shape, shape, pack: (latents) => latents, unpack: channelsFirst };
}

function channelsFirst(latents: Tensor): Tensor {
  const [batch, frames, rows, columns, channels] = dims(latents, 5);
  const plane = frames * rows * columns;
  const values = latents.f32;
  const moved = new Float32Array(values.length);
  for (let sample = 0; sample < batch; sample++)
    for (let channel = 0; channel < channels; channel++)
      for (let at = 0; at < plane; at++)
        moved[(sample * channels + channel) * plane + at] = values[(sample * plane + at) * channels + channel]!;
  return floatTensor(moved, [batch, channels, frames, rows, columns]);
}

interface CallOptions {
  timestep: number;
  branch: ForwardInputs;
  /** Channels that the transformer takes; those beside the latents' tell which frames are given, and none is. */
  inChannels: number;
  patch: readonly [number, number, number];
  /** What positions of each axis are divided by. */
  scale: readonly [number, number, number];
}

/** Inputs of a call beside the text's. */
export function kandinskyInputs(
  latents: Tensor,
  { timestep, branch, inChannels, patch, scale }: CallOptions,
): ForwardInputs {
  const [batch, frames, rows, columns, channels] = dims(latents, 5);
  const others = [batch, frames, rows, columns, inChannels - channels];
  const none = floatTensor(new Float32Array((latents.size / channels) * (inChannels - channels)), others);
  const text = (branch['encoder_hidden_states'] as Tensor).dim(1);
  const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);
  return {
    hidden_states: inChannels === channels ? latents : join([latents, none], 4),
    timestep: perSample(latents, timestep),
    visual_rope_pos: [frames, rows, columns].map((count, axis) => intTensor(upTo(count / patch[axis]!))),
    text_rope_pos: floatTensor(upTo(text)),
    scale_factor: [...scale],
  };
}
