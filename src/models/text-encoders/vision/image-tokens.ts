/** Pictures among the tokens of a text: what stands where a picture's tokens are, and the positions that all have then. */
import { DejaDitError } from '../../../errors/errors.ts';
import { concat, gather } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { dims, intTensor, rows, type Tensor } from '../../../tensor/tensor.ts';
import { type PatchGrid, tokenPlaces } from './patch-layout.ts';

/**
 * For every token of a text [B, S] where its embedding is: at its own place among those of the text, or behind them, where the pictures'
 * tokens are in their order.
 * @throws DejaDitError if there are more or fewer places for them than tokens
 */
export function imageTokenRows(ids: Tensor, { imageToken, tokens }: { imageToken: number; tokens: number }): Tensor {
  const own = rows(ids).flat().map(Number);
  let next = own.length;
  const picked = own.map((id, i) => (id === imageToken ? next++ : i));
  const places = next - own.length;
  if (places === tokens) return intTensor(picked, ids.shape);
  throw new DejaDitError('INVALID_ARGUMENT', `${places} tokens of ${imageToken} for pictures of ${tokens} tokens`, {
    path: 'input_ids',
  });
}

/** Embeddings [B, S, D] with those of pictures [tokens, D] in their places. */
export function withImageTokens(
  text: SymbolicTensor,
  pictures: SymbolicTensor,
  places: SymbolicTensor,
): SymbolicTensor {
  const width = text.dim(-1);
  return gather(concat([text.reshape([-1, width]), pictures], 0), places);
}

export interface PicturePositions {
  /** [B, S], 0 for text and 1 for tokens of pictures. */
  types: Tensor;
  /** [B, S], 0 for padding, which has position 0. */
  mask: Tensor | undefined;
  grids: readonly PatchGrid[];
  merge: number;
}

/**
 * Time, row and column of every token [B][S][3]: text counts on, on all three at once; a picture's tokens are at their places in it, and
 * what follows counts on from its longer edge (Qwen2-VL, arXiv 2409.12191).
 */
export function picturePositions({ types, mask, grids, merge }: PicturePositions): number[][][] {
  const [, length] = dims(types, 2);
  const kept = mask && rows(mask);
  let picture = 0;
  return rows(types).map((row, sample) => {
    const positions = Array.from({ length }, () => [0, 0, 0]);
    const tokens = row.flatMap((type, token) =>
      kept && Number(kept[sample]![token]) === 0 ? [] : [{ token, isText: Number(type) === 0 }],
    );
    let next = 0;
    for (let i = 0; i < tokens.length; ) {
      if (tokens[i]!.isText) {
        positions[tokens[i++]!.token] = [next, next, next];
        next++;
        continue;
      }
      const grid = grids[picture++];
      const places = grid ? tokenPlaces(grid, merge) : [];
      const own = tokens.slice(i, i + places.length);
      if (!grid || own.length < places.length || own.some(({ isText }) => isText))
        throw new DejaDitError('INVALID_ARGUMENT', 'its runs of 1 are not those of the pictures of image_grid_thw', {
          path: 'mm_token_type_ids',
        });
      for (const [n, place] of places.entries()) positions[own[n]!.token] = place.map((at) => at + next);
      next += Math.max(grid.rows, grid.columns) / merge;
      i += places.length;
    }
    return positions;
  });
}
