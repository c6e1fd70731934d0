/** Shortcuts without weights around a change of width: groups of channels averaged, or channels repeated. */
import type { SymbolicTensor } from '../../graph/symbolic.ts';

/** Means of equal groups of neighbouring channels: [B, C, H, W] → [B, width, H, W]. */
export function averageGroups(x: SymbolicTensor, width: number): SymbolicTensor {
  const [batch, channels, image] = [x.dim(0), x.dim(1), x.shape.slice(2)];
  return x.reshape([batch, width, channels / width, ...image]).mean(2, false);
}

/** Every channel several times in a row: [B, C, H, W] → [B, width, H, W]. */
export function repeatChannels(x: SymbolicTensor, width: number): SymbolicTensor {
  const [batch, channels, image] = [x.dim(0), x.dim(1), x.shape.slice(2)];
  return x
    .unsqueeze(2)
    .expand([batch, channels, width / channels, ...image])
    .reshape([batch, width, ...image]);
}
