/** The blocks of Stable Diffusion 3, and its positions: what its transformer and its ControlNets share. */
import { DejaDitError } from '../../../errors/errors.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention, jointAttention, type QkNorm } from '../../../nn/attention/attention.ts';
import { feedForward } from '../../../nn/linear.ts';
import { adaLayerNormZero, modulatedResidual } from '../../../nn/modulation.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { adaLayerNormContinuous, modulatedLayerNorm } from '../../../nn/norms.ts';
import { patchGrid } from '../../../nn/patches.ts';
import { tableWindow } from '../../../nn/position-table.ts';
import type { Tensor } from '../../../tensor/tensor.ts';

export type SD3State = {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
};

export interface SD3BlockOptions {
  heads: number;
  width: number;
  qkNorm: QkNorm | undefined;
  /** Whether the image attends to itself as well. */
  dual: boolean;
  /** Whether the text is left unchanged. */
  last: boolean;
}

/** Image and text keep their own weights and meet in attention. */
export const sd3Block = layer(
  (m, state: SD3State, { dual, last, heads, width, qkNorm }: SD3BlockOptions): Partial<SD3State> => {
    const { hidden_states, encoder_hidden_states, temb } = state;
    const ofImage = <Count extends number>(sublayers: Count) =>
      adaLayerNormZero(m.at('norm1'), temb, { sublayers, width });
    const [ofAttention, ofMlp, ofDual] = dual ? ofImage(3) : [...ofImage(2), undefined];
    const ofText = last ? undefined : adaLayerNormZero(m.at('norm1_context'), temb, { sublayers: 2, width });

    const attended = jointAttention(m.at('attn'), {
      image: modulatedLayerNorm(hidden_states, ofAttention),
      text: ofText
        ? modulatedLayerNorm(encoder_hidden_states, ofText[0])
        : adaLayerNormContinuous(m.at('norm1_context'), encoder_hidden_states, temb, { epsilon: 1e-6 }),
      heads,
      qkNorm,
      first: 'image',
      textOutput: !last,
    });
    const mlp = (name: string) => (x: SymbolicTensor) =>
      feedForward(m.at(name), x, { activation: 'gelu-approximate', inner: 4 * width });

    let image = hidden_states.add(ofAttention.gate.mul(attended.image));
    if (ofDual) {
      const alone = attention(m.at('attn2'), modulatedLayerNorm(hidden_states, ofDual), { heads, qkNorm });
      image = image.add(ofDual.gate.mul(alone));
    }
    image = modulatedResidual(image, { modulation: ofMlp, sublayer: mlp('ff') });
    if (!ofText || !attended.text) return { hidden_states: image };

    const text = encoder_hidden_states.add(ofText[0].gate.mul(attended.text));
    return {
      hidden_states: image,
      encoder_hidden_states: modulatedResidual(text, { modulation: ofText[1], sublayer: mlp('ff_context') }),
    };
  },
);

/** The middle of the position table [1, tableSize², D], as large as the token grid. */
export function croppedPositions(
  m: Module,
  grid: readonly [number, number],
  { tableSize, width }: { tableSize: number; width: number },
): SymbolicTensor {
  const [rows, columns] = grid;
  const [top, left] = [Math.floor((tableSize - rows) / 2), Math.floor((tableSize - columns) / 2)];
  const table = m.weight('pos_embed', [1, tableSize * tableSize, width]);
  return tableWindow(table, { edge: tableSize, grid, corner: [top, left] });
}

/** The tokens of latents [B, C, H, W]. @throws DejaDitError SHAPE_MISMATCH beyond the position table */
export function tokenGrid(
  latents: Tensor,
  { patch, tableSize }: { patch: readonly [number, number]; tableSize: number },
): [number, number] {
  const grid = patchGrid('hidden_states', latents, patch);
  if (Math.max(...grid) <= tableSize) return grid;
  const sizes = patch.map((size) => size * tableSize);
  throw new DejaDitError(
    'SHAPE_MISMATCH',
    `shape [${latents.shape}], this model's position table covers [${sizes}] latent pixels at most`,
    { path: 'hidden_states' },
  );
}
