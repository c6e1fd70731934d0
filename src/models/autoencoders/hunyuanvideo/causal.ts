/** Convolution and attention that see no later frame, as the autoencoders of HunyuanVideo have them. */
import { concat, conv, multiHeadAttention } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { layer } from '../../../nn/module.ts';

interface CausalConvolution {
  width: number;
  /** Along time, height and width, or along all of them. Default 3. */
  kernel?: number | readonly [number, number, number];
  stride?: readonly number[];
}

/** Convolution that sees no later frame; beyond its ends everything goes on as it is there. */
export const causalConvolution = layer(
  (m, x: SymbolicTensor, { width, kernel = 3, stride }: CausalConvolution): SymbolicTensor => {
    const [time, height, columns] = typeof kernel === 'number' ? [kernel, kernel, kernel] : kernel;
    const repeated = (axis: number, y: SymbolicTensor, before: number, after: number) =>
      before + after === 0
        ? y
        : concat(
            [
              ...Array<SymbolicTensor>(before).fill(y.slice(axis, 0, 1)),
              y,
              ...Array<SymbolicTensor>(after).fill(y.slice(axis, -1)),
            ],
            axis,
          );
    const around = (axis: number, y: SymbolicTensor, size: number) =>
      repeated(axis, y, Math.floor((size - 1) / 2), Math.floor((size - 1) / 2));
    const at = m.at('conv');
    return conv(around(4, around(3, repeated(2, x, time - 1, 0), height), columns), {
      weight: at.weight('weight', [width, x.dim(1), time, height, columns]),
      bias: at.weight('bias', [width]),
      ...(stride ? { stride } : {}),
    });
  },
);

/** Attention in one head of pixels [B, T·pixels, C] to those of their own frame and of earlier ones. */
export function attendToEarlierFrames(
  { query, key, value }: Record<'query' | 'key' | 'value', SymbolicTensor>,
  pixels: number,
): SymbolicTensor {
  const attended = Array.from({ length: query.dim(1) / pixels }, (_, frame) => {
    const seen = (frame + 1) * pixels;
    return multiHeadAttention({
      query: query.slice(1, frame * pixels, seen),
      key: key.slice(1, 0, seen),
      value: value.slice(1, 0, seen),
      numHeads: 1,
    });
  });
  return concat(attended, 1);
}
