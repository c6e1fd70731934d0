/**
 * Stable Diffusion 3's ControlNets, Diffusers' `SD3ControlNetModel`: some of its blocks over the latents and a picture, each with a
 * projection whose result is added in the transformer. Those of Stable Diffusion 3.5 large read no text, and get the latents as the
 * transformer has embedded them.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { attention, type QkNorm } from '../../nn/attention/attention.ts';
import { conditionEmbedding } from '../../nn/embeddings.ts';
import { feedForward, linear } from '../../nn/linear.ts';
import { adaLayerNormZero, modulatedResidual } from '../../nn/modulation.ts';
import { layer } from '../../nn/module.ts';
import { modulatedLayerNorm } from '../../nn/norms.ts';
import { patchEmbedding, patchGrid } from '../../nn/patches.ts';
import { defineModel } from '../graph-model.ts';
import { croppedPositions, sd3Block, tokenGrid } from '../transformers/sd3/sd3-blocks.ts';
import { readScale, scaled } from './scale.ts';
import { nameTokens, tokensOfBlocks } from './tokens.ts';

interface SD3ControlNetConfig {
  inChannels: number;
  /** Of the picture, which may bring a mask. */
  conditionChannels: number;
  blocks: number;
  dualAttention: readonly number[];
  heads: number;
  width: number;
  /** Undefined: it reads no text. */
  textWidth: number | undefined;
  pooledWidth: number;
  qkNorm: QkNorm | undefined;
  patch: readonly [number, number];
  /** Whether it embeds the latents itself. */
  embedsLatents: boolean;
  /** Tokens per side of its position table; undefined: it has none. */
  tableSize: number | undefined;
}

export const sd3ControlNet = defineModel<SD3ControlNetConfig>({
  className: 'SD3ControlNetModel',

  parseConfig(config) {
    const heads = config.count('num_attention_heads', 18);
    const width = heads * config.count('attention_head_dim', 64);
    const textWidth =
      config.json['joint_attention_dim'] === null ? undefined : config.integer('joint_attention_dim', 4096);
    if (textWidth !== undefined) config.requires('caption_projection_dim', width);
    const inChannels = config.integer('in_channels', 16);
    const patch = config.count('patch_size', 2);
    const norm = config.nullable('qk_norm', (name) => config.choice(name, ['rms_norm'] as const));
    const embedsLatents = config.boolean('use_pos_embed', true);
    const hasTable = embedsLatents && config.json['pos_embed_type'] !== null;
    if (hasTable) config.requires('pos_embed_type', 'sincos');
    return {
      inChannels,
      conditionChannels: inChannels + config.integer('extra_conditioning_channels', 0, { min: 0 }),
      blocks: config.layers('num_layers', 18),
      dualAttention: config.integers('dual_attention_layers', [], { min: 0 }),
      heads,
      width,
      textWidth,
      pooledWidth: config.integer('pooled_projection_dim', 2048),
      qkNorm: norm && { kind: norm, epsilon: 1e-6 },
      patch: [patch, patch],
      embedsLatents,
      tableSize: hasTable ? config.integer('pos_embed_max_size', 96) : undefined,
    };
  },

  tokens: tokensOfBlocks,

  functions: {
    /** Outputs: `controlnet_block_samples.<i>` [B, image tokens, width]. */
    forward: {
      inputs: ({ inChannels, conditionChannels, width, textWidth, pooledWidth, embedsLatents }) => [
        {
          name: 'hidden_states',
          kind: 'float',
          shape: embedsLatents ? ['batch', inChannels, 'height', 'width'] : ['batch', 'image_tokens', width],
        },
        { name: 'controlnet_cond', kind: 'float', shape: ['batch', conditionChannels, 'height', 'width'] },
        { name: 'conditioning_scale', kind: 'other', optional: true },
        ...(textWidth === undefined
          ? []
          : [{ name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] } as const]),
        { name: 'pooled_projections', kind: 'float', shape: ['batch', pooledWidth] },
        { name: 'timestep', kind: 'float', shape: ['batch'] },
      ],

      prepare(tensors, { patch, embedsLatents, tableSize }, inputs) {
        const grid = patchGrid('controlnet_cond', tensors.controlnet_cond!, patch);
        if (embedsLatents && tableSize !== undefined) tokenGrid(tensors.hidden_states!, { patch, tableSize });
        const tokens = grid[0] * grid[1];
        if (!embedsLatents && tensors.hidden_states!.dim(1) !== tokens)
          throw new DejaDitError(
            'SHAPE_MISMATCH',
            `${tensors.hidden_states!.dim(1)} tokens, the picture of controlnet_cond has ${tokens}`,
            { path: 'hidden_states' },
          );
        return { tensors: { ...tensors, scale: readScale(inputs) }, statics: { grid } };
      },

      smallestCalls: ({ patch: [height, width] }) => [{ sizes: { height, width } }],

      build(m, inputs, config, { grid }) {
        const { patch, width, textWidth, embedsLatents, tableSize, blocks } = config;
        const picture = patchEmbedding(m.at('pos_embed_input'), inputs.controlnet_cond!, { patch, width });
        let image = inputs.hidden_states!;
        if (embedsLatents) image = patchEmbedding(m.at('pos_embed'), image, { patch, width });
        if (tableSize !== undefined)
          image = image.add(croppedPositions(m.at('pos_embed'), grid as [number, number], { tableSize, width }));
        image = image.add(picture);
        const temb = conditionEmbedding(
          m.at('time_text_embed'),
          { timestep: inputs.timestep!, pooled: inputs.pooled_projections! },
          { width },
        );
        let text =
          textWidth === undefined ? undefined : linear(m.at('context_embedder'), inputs.encoder_hidden_states!, width);
        nameTokens(m, { hidden_states: image, encoder_hidden_states: text });
        const samples: SymbolicTensor[] = [];
        for (let index = 0; index < blocks; index++) {
          const block = m.at(`transformer_blocks.${index}`);
          if (text) {
            const state = { hidden_states: image, encoder_hidden_states: text, temb };
            const dual = config.dualAttention.includes(index);
            const changes = sd3Block(block, state, { ...config, dual, last: false });
            [image, text] = [changes.hidden_states!, changes.encoder_hidden_states!];
          } else image = singleBlock(block, { image, temb }, config);
          samples.push(linear(m.at(`controlnet_blocks.${index}`), image, width));
        }
        return scaled({ controlnet_block_samples: samples }, inputs.scale!);
      },
    },
  },
});

/** The image attends to itself alone. */
const singleBlock = layer(
  (
    m,
    { image, temb }: { image: SymbolicTensor; temb: SymbolicTensor },
    { heads, width }: { heads: number; width: number },
  ): SymbolicTensor => {
    const [ofAttention, ofMlp] = adaLayerNormZero(m.at('norm1'), temb, { sublayers: 2, width });
    const attended = attention(m.at('attn'), modulatedLayerNorm(image, ofAttention), { heads });
    return modulatedResidual(image.add(ofAttention.gate.mul(attended)), {
      modulation: ofMlp,
      sublayer: (x) => feedForward(m.at('ff'), x, { activation: 'gelu-approximate', inner: 4 * width }),
    });
  },
);
