/**
 * Stable Diffusion 3 and 3.5 (Esser et al., arXiv 2403.03206), Diffusers' `SD3Transformer2DModel`: the multimodal DiT (MM-DiT).
 *
 * Notation: D = heads · head dim is the width; joint sequences are [image, text]. The streams have separate weights and meet in attention;
 * `temb`, the sum of time and pooled-text embeddings, modulates both. In SD 3.5 medium's first blocks the image also attends to
 * itself alone (`attn2`, "dual attention"). The last block leaves the text unchanged, since only the image is read after it.
 * Positions are a table in the checkpoint, from whose centre the image's size is cropped.
 */
import { DejaDitError } from '../../../errors/errors.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention, jointAttention, type QkNorm } from '../../../nn/attention/attention.ts';
import { conditionEmbedding } from '../../../nn/embeddings.ts';
import { feedForward, linear } from '../../../nn/linear.ts';
import { adaLayerNormZero, modulatedOutput, modulatedResidual } from '../../../nn/modulation.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { adaLayerNormContinuous, modulatedLayerNorm } from '../../../nn/norms.ts';
import { patchEmbedding, patchGrid, unpatchify } from '../../../nn/patches.ts';
import { tableWindow } from '../../../nn/position-table.ts';
import { defineTransformer } from '../../definition.ts';
import { sd3Names } from './sd3-names.ts';

interface SD3Config {
  inChannels: number;
  outChannels: number;
  blocks: number;
  /** Indices of the blocks in which the image attends to itself as well. */
  dualAttention: readonly number[];
  heads: number;
  width: number;
  textWidth: number;
  pooledWidth: number;
  qkNorm: QkNorm | undefined;
  patch: readonly [number, number];
  /** Edge of the latents that it was trained at. */
  sampleSize: number;
  /** Tokens per side of the position table. */
  tableSize: number;
}

type SD3State = {
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  temb: SymbolicTensor;
};

export const sd3Transformer = defineTransformer<SD3Config, SD3State>({
  className: 'SD3Transformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1, encoder_hidden_states: 1 },
  float32Modules: ['time_text_embed.**'],
  originalNames: sd3Names,

  parseConfig(config) {
    const heads = config.count('num_attention_heads', 18);
    const width = heads * config.count('attention_head_dim', 64);
    // The text stream has the image's width: they share one attention.
    config.requires('caption_projection_dim', width);
    const inChannels = config.integer('in_channels', 16);
    const patch = config.count('patch_size', 2);
    const norm = config.nullable('qk_norm', (name) => config.choice(name, ['rms_norm'] as const));
    return {
      inChannels,
      outChannels: config.outChannels(inChannels, 16),
      blocks: config.layers('num_layers', 18),
      dualAttention: config.integers('dual_attention_layers', [], { min: 0 }),
      heads,
      width,
      textWidth: config.integer('joint_attention_dim', 4096),
      pooledWidth: config.integer('pooled_projection_dim', 2048),
      qkNorm: norm && { kind: norm, epsilon: 1e-6 },
      patch: [patch, patch],
      sampleSize: config.integer('sample_size', 128),
      tableSize: config.integer('pos_embed_max_size', 96),
    };
  },

  traits: ({ width, inChannels, outChannels, patch, sampleSize, textWidth }) => ({
    width,
    inChannels,
    outChannels,
    patch: [1, ...patch],
    sampleSize,
    textWidth,
  }),

  inputs: ({ inChannels, textWidth, pooledWidth }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', inChannels, 'height', 'width'] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'pooled_projections', kind: 'float', shape: ['batch', pooledWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
  ],

  prepare(tensors, { patch, tableSize }) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, patch);
    if (Math.max(...grid) > tableSize) {
      const sizes = patch.map((size) => size * tableSize);
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `shape [${tensors.hidden_states!.shape}], this model's position table covers [${sizes}] latent pixels at most`,
        { path: 'hidden_states' },
      );
    }
    return { tensors, statics: { grid } };
  },

  prologue(m, { hidden_states, encoder_hidden_states, pooled_projections, timestep }, config, { grid }) {
    const { patch, width } = config;
    const positions = croppedPositions(m.at('pos_embed'), grid as [number, number], config);
    return {
      hidden_states: patchEmbedding(m.at('pos_embed'), hidden_states!, { patch, width }).add(positions),
      encoder_hidden_states: linear(m.at('context_embedder'), encoder_hidden_states!, width),
      temb: conditionEmbedding(
        m.at('time_text_embed'),
        { timestep: timestep!, pooled: pooled_projections! },
        { width },
      ),
    };
  },

  smallestCalls: ({ patch: [height, width] }) => [{ sizes: { height, width } }],

  blockLists: (config) => [
    {
      name: 'transformer_blocks',
      pattern: 1,
      count: config.blocks,
      block: (m, state, { index }) =>
        jointBlock(m, state, {
          ...config,
          dual: config.dualAttention.includes(index),
          last: index === config.blocks - 1,
        }),
    },
  ],

  epilogue(m, { hidden_states, temb }, { patch, outChannels }, { grid }) {
    const patches = modulatedOutput(m, hidden_states, { temb, outFeatures: patch[0] * patch[1] * outChannels });
    return unpatchify(patches, { grid: grid as number[], patch });
  },
});

interface JointBlock extends SD3Config {
  dual: boolean;
  last: boolean;
}

const jointBlock = layer((m, state: SD3State, { dual, last, ...config }: JointBlock): Partial<SD3State> => {
  const { hidden_states, encoder_hidden_states, temb } = state;
  const { heads, width, qkNorm } = config;
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
});

/** The middle of the position table [1, tableSize², D], as large as the token grid. */
function croppedPositions(m: Module, grid: readonly [number, number], { tableSize, width }: SD3Config): SymbolicTensor {
  const [rows, columns] = grid;
  const [top, left] = [Math.floor((tableSize - rows) / 2), Math.floor((tableSize - columns) / 2)];
  const table = m.weight('pos_embed', [1, tableSize * tableSize, width]);
  return tableWindow(table, { edge: tableSize, grid, corner: [top, left] });
}
