/** The blocks of Qwen-Image, and their attention: what its transformer and its ControlNets share. */
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { jointAttention } from '../../../nn/attention/attention.ts';
import { type AttentionInputs, attentionOptions, attentionTensors } from '../../../nn/attention/attention-inputs.ts';
import { keyMask, maskRows } from '../../../nn/attention/attention-mask.ts';
import { feedForward } from '../../../nn/linear.ts';
import { projectModulations } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { rotaryTables } from '../../../nn/rotary.ts';
import { dualStreamBlock } from '../../../nn/stream-blocks.ts';
import { currentTime } from '../../../nn/token-times.ts';
import { dims, type Tensor } from '../../../tensor/tensor.ts';
import { type ImageShape, positions } from './image-shapes.ts';

export type QwenImageState = AttentionInputs & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  /** [B, D]; with clean references [2·B, D], the second half at time 0. */
  temb: SymbolicTensor;
  /** [B, image tokens]: which row of temb each token takes. */
  temb_rows?: SymbolicTensor;
};

/** Text and image keep their own weights and meet in attention. */
export const qwenImageBlock = layer(
  (m, state: QwenImageState, { heads, width }: { heads: number; width: number }): Partial<QwenImageState> => {
    const { hidden_states, encoder_hidden_states, temb, temb_rows } = state;
    const mlp = (name: string) => (normed: SymbolicTensor) =>
      feedForward(m.at(name), normed, { activation: 'gelu-approximate', inner: 4 * width });
    return dualStreamBlock({
      image: {
        x: hidden_states,
        modulations: projectModulations(m.at('img_mod.1'), temb, { sublayers: 2, width, rows: temb_rows }),
        feedForward: mlp('img_mlp'),
      },
      text: {
        x: encoder_hidden_states,
        modulations: projectModulations(m.at('txt_mod.1'), currentTime(temb, hidden_states), { sublayers: 2, width }),
        feedForward: mlp('txt_mlp'),
      },
      attend: (normed) =>
        jointAttention(m.at('attn'), {
          ...normed,
          heads,
          qkNorm: { kind: 'rms_norm', epsilon: 1e-6 },
          first: 'text',
          ...attentionOptions(state),
        }),
    });
  },
);

/**
 * Positions and padding of a call.
 * @param tensors `hidden_states` [B, image tokens, C], `encoder_hidden_states` [B, text tokens, C], and the text's mask where there is one
 */
export function qwenImageAttention(
  tensors: Readonly<Record<string, Tensor>>,
  images: readonly ImageShape[],
  { axesDim, layered }: { axesDim: readonly number[]; layered: boolean },
): Record<string, Tensor> {
  const { hidden_states, encoder_hidden_states, encoder_hidden_states_mask: mask } = tensors;
  const [, imageTokens] = dims(hidden_states!, 3);
  const textTokens = encoder_hidden_states!.dim(1);
  const rotary = rotaryTables(positions(images, { textTokens, layered }), {
    axesDim,
    theta: 10000,
    precision: 'single',
  });
  const visible = mask && maskRows(mask).map((text) => [...text, ...Array<boolean>(imageTokens).fill(true)]);
  return attentionTensors(rotary, visible && keyMask(visible));
}
