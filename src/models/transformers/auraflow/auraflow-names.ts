/** AuraFlow's tensors as Fal named them. */
import { halvesSwapped, type NameTable, under } from '../../../weights/names/name-table.ts';

const feedForward = (from: string, to: string) =>
  under(from, to, { c_fc1: 'linear_1', c_fc2: 'linear_2', c_proj: 'out_projection' });
const joint = 'joint_transformer_blocks.#';
const single = 'single_transformer_blocks.#';

export const auraFlowNames: NameTable = {
  positional_encoding: 'pos_embed.pos_embed',
  init_x_linear: 'pos_embed.proj',
  cond_seq_linear: 'context_embedder',
  't_embedder.mlp.0': 'time_step_proj.linear_1',
  't_embedder.mlp.2': 'time_step_proj.linear_2',
  ...under('double_layers.#', joint, { 'modX.1': 'norm1.linear', 'modC.1': 'norm1_context.linear' }),
  ...under('double_layers.#.attn', `${joint}.attn`, {
    w2q: 'to_q',
    w2k: 'to_k',
    w2v: 'to_v',
    w2o: 'to_out.0',
    w1q: 'add_q_proj',
    w1k: 'add_k_proj',
    w1v: 'add_v_proj',
    w1o: 'to_add_out',
  }),
  ...feedForward('double_layers.#.mlpX', `${joint}.ff`),
  ...feedForward('double_layers.#.mlpC', `${joint}.ff_context`),
  'single_layers.#.modCX.1': `${single}.norm1.linear`,
  ...under('single_layers.#.attn', `${single}.attn`, { w1q: 'to_q', w1k: 'to_k', w1v: 'to_v', w1o: 'to_out.0' }),
  ...feedForward('single_layers.#.mlp', `${single}.ff`),
  'modF.1': halvesSwapped('norm_out.linear'),
  final_linear: 'proj_out',
};
