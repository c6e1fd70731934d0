/**
 * HunyuanVideo (Tencent, 2024, arXiv 2412.03603), Diffusers' `HunyuanVideoTransformer3DModel`: FLUX's blocks for video.
 *
 * Notation: D = heads · head dim is the width; video latents [B, C, frames, height, width] are cut into patches, and tokens are
 * [image, text]. Text of a language model first passes a refiner of its own (`token-refiner.ts`), has no position, and its padding
 * asks but is never seen. Models that continue an image ("token replace") modulate the first frame as at time 0.
 */
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { jointAttention, type QkNorm } from '../../../nn/attention/attention.ts';
import {
  type AttentionInputs,
  attentionInputs,
  attentionOptions,
  attentionTensors,
} from '../../../nn/attention/attention-inputs.ts';
import { keyMask, maskRows } from '../../../nn/attention/attention-mask.ts';
import { conditionEmbedding } from '../../../nn/embeddings.ts';
import { feedForward } from '../../../nn/linear.ts';
import { adaLayerNormZero, modulatedOutput } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { patchEmbedding, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { gridPositions, rotaryTables } from '../../../nn/rotary.ts';
import { dualStreamBlock, singleStreamBlock } from '../../../nn/stream-blocks.ts';
import { cleanTokenRows, currentTime } from '../../../nn/token-times.ts';
import { defineTransformer } from '../../definition.ts';
import { hunyuanVideoNames } from './hunyuanvideo-names.ts';
import { type HunyuanVideoSizes, hunyuanVideoSizes } from './hunyuanvideo-sizes.ts';
import { refinedText, refinerTensors } from './token-refiner.ts';

interface HunyuanVideoConfig extends HunyuanVideoSizes {
  doubleBlocks: number;
  singleBlocks: number;
  pooledWidth: number;
  guidance: boolean;
  /** The first frame is given and clean. */
  tokenReplace: boolean;
}

type HunyuanVideoState = AttentionInputs & {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  /** [B, D]; with token replace [2·B, D], the second half at time 0. */
  temb: SymbolicTensor;
  /** [B, image and text tokens]: which row of temb each token takes. */
  temb_rows?: SymbolicTensor;
};

const qkNorm: QkNorm = { kind: 'rms_norm', epsilon: 1e-6 };

export const hunyuanVideoTransformer = defineTransformer<HunyuanVideoConfig, HunyuanVideoState>({
  className: 'HunyuanVideoTransformer3DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_text_embed.**', 'context_embedder.time_text_embed.**'],
  originalNames: hunyuanVideoNames,

  parseConfig(config) {
    const condition = config.nullable('image_condition_type', (name) =>
      config.choice(name, ['latent_concat', 'token_replace']),
    );
    return {
      ...hunyuanVideoSizes(config, { inChannels: 16, outChannels: 16, heads: 24, patch: 2, textWidth: 4096 }),
      doubleBlocks: config.layers('num_layers', 20),
      singleBlocks: config.layers('num_single_layers', 40),
      pooledWidth: config.integer('pooled_projection_dim', 768),
      guidance: config.boolean('guidance_embeds', true),
      tokenReplace: condition === 'token_replace',
    };
  },

  traits: ({ width, inChannels, outChannels, patch, textWidth, guidance }) => ({
    width,
    inChannels,
    outChannels,
    patch,
    textWidth,
    guidanceEmbedding: guidance,
  }),

  inputs: ({ inChannels, textWidth, pooledWidth, guidance }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'frames', 'height', 'width'] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'encoder_attention_mask', kind: 'bool', shape: ['batch', 'text_tokens'] },
    { name: 'pooled_projections', kind: 'float', shape: ['batch', pooledWidth] },
    { name: 'guidance', kind: 'float', shape: ['batch'], optional: !guidance },
  ],

  prepare({ encoder_attention_mask, guidance, ...tensors }, config) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, config.patch);
    const cells = gridPositions(grid);
    const kept = maskRows(encoder_attention_mask!);
    const text = kept[0]!;

    const rotary = rotaryTables([...cells, ...text.map(() => [0, 0, 0])], { ...config, precision: 'single' });
    // As in Diffusers, joint attention goes by how many text tokens are kept, not by which.
    const visible = kept.map((row) => {
      const count = row.filter(Boolean).length;
      return [...cells.map(() => true), ...row.map((_, token) => token < count)];
    });
    const inFirstFrame = [...cells.map(([frame]) => frame === 0), ...text.map(() => false)];
    return {
      tensors: {
        ...tensors,
        ...(config.guidance ? { guidance: guidance! } : {}),
        ...(config.tokenReplace ? { temb_rows: cleanTokenRows(kept.length, inFirstFrame) } : {}),
        ...refinerTensors(kept),
        ...attentionTensors(rotary, keyMask(visible)),
      },
      statics: { grid },
    };
  },

  prologue(m, inputs, config) {
    const { width, patch, tokenReplace } = config;
    const { timestep, guidance, pooled_projections: pooled, temb_rows } = inputs;
    const embed = m.at('time_text_embed');
    const temb = conditionEmbedding(embed, { timestep: timestep!, guidance, pooled }, { width });
    const clean = tokenReplace ? [conditionEmbedding(embed, { timestep: timestep!.mul(0), pooled }, { width })] : [];
    return {
      hidden_states: patchEmbedding(m.at('x_embedder'), inputs.hidden_states!, { patch, width }),
      encoder_hidden_states: refinedText(m.at('context_embedder'), inputs, config),
      temb: concat([temb, ...clean], 0),
      ...(temb_rows ? { temb_rows } : {}),
      ...attentionInputs(inputs),
    };
  },

  smallestCalls: ({ patch: [frames, height, width] }) => [{ sizes: { frames, height, width } }],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 0,
      count: config.doubleBlocks,
      block: (m, state) => doubleBlock(m, state, config),
    },
    {
      name: 'single_transformer_blocks',
      pattern: 0,
      count: config.singleBlocks,
      block: (m, state) => singleBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, temb }, { patch, outChannels }, { grid }) {
    const now = currentTime(temb, hidden_states);
    const outFeatures = outChannels * patch[0] * patch[1] * patch[2];
    const patches = modulatedOutput(m, hidden_states, { temb: now, outFeatures });
    return unpatchify(patches, { grid: grid as number[], patch, channels: 'first' });
  },
});

/** Image and text keep their own weights and meet in attention. */
const doubleBlock = layer(
  (m, state: HunyuanVideoState, { heads, width, mlpWidth }: HunyuanVideoConfig): Partial<HunyuanVideoState> => {
    const { hidden_states, encoder_hidden_states, temb, temb_rows } = state;
    const rows = temb_rows?.slice(1, 0, hidden_states.dim(1));
    const mlp = (name: string) => (normed: SymbolicTensor) =>
      feedForward(m.at(name), normed, { activation: 'gelu-approximate', inner: mlpWidth });
    return dualStreamBlock({
      image: {
        x: hidden_states,
        modulations: adaLayerNormZero(m.at('norm1'), temb, { sublayers: 2, width, rows }),
        feedForward: mlp('ff'),
      },
      text: {
        x: encoder_hidden_states,
        modulations: adaLayerNormZero(m.at('norm1_context'), currentTime(temb, hidden_states), { sublayers: 2, width }),
        feedForward: mlp('ff_context'),
      },
      attend: (normed) =>
        jointAttention(m.at('attn'), { ...normed, heads, qkNorm, first: 'image', ...attentionOptions(state) }),
    });
  },
);

/** The joined sequence [image, text] through attention and MLP side by side. */
const singleBlock = layer(
  (m, state: HunyuanVideoState, { heads, width, mlpWidth }: HunyuanVideoConfig): Partial<HunyuanVideoState> => {
    const { hidden_states, encoder_hidden_states, temb, temb_rows: rows } = state;
    const [modulation] = adaLayerNormZero(m.at('norm'), temb, { sublayers: 1, width, rows });
    const joined = singleStreamBlock(m, concat([hidden_states, encoder_hidden_states], 1), {
      modulation,
      inner: mlpWidth,
      heads,
      qkNorm,
      ...attentionOptions(state),
    });
    const [image, text] = joined.split(1, [hidden_states.dim(1), encoder_hidden_states.dim(1)]);
    return { hidden_states: image, encoder_hidden_states: text };
  },
);
