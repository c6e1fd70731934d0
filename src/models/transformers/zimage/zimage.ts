/**
 * Z-Image (Alibaba, 2025, arXiv 2511.22699), Diffusers' `ZImageTransformer2DModel`: one stream of image and caption tokens, "S3-DiT".
 *
 * Notation: D = `dim` is the width. Samples come as lists and may differ in size; each sample's image and caption are first
 * refined apart and then joined to [image, caption]. `sequences.ts` arranges them. Blocks have RMSNorms before and after each
 * sublayer, gates through tanh and no shifts; the caption's refiner is not modulated by time.
 */
import { DejaDitError } from '../../../errors/errors.ts';
import { concat, gather } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention } from '../../../nn/attention/attention.ts';
import {
  type AttentionInputs,
  attentionInputs,
  attentionOptions,
  attentionTensors,
} from '../../../nn/attention/attention-inputs.ts';
import { sinusoidalEmbedding } from '../../../nn/embeddings.ts';
import { gatedFeedForward, linear } from '../../../nn/linear.ts';
import { sandwichModulations, sandwichResidual } from '../../../nn/modulation.ts';
import { layer } from '../../../nn/module.ts';
import { modulatedLayerNorm, perToken, rmsNorm } from '../../../nn/norms.ts';
import type { RotaryTableOptions } from '../../../nn/rotary.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { checkTensorList, type ForwardInputs } from '../../inputs.ts';
import { fromPatches, type Patch, toPatches } from './patches.ts';
import { arrange, joinPadded } from './sequences.ts';
import { zImageNames } from './zimage-names.ts';

interface ZImageConfig {
  channels: number;
  blocks: number;
  refinerBlocks: number;
  heads: number;
  width: number;
  captionWidth: number;
  qkNorm: boolean;
  epsilon: number;
  timeScale: number;
  rotary: RotaryTableOptions;
  /** The patch sizes there are embeddings for, as (frames, rows, columns). */
  patches: readonly Patch[];
}

type ZImageState = AttentionInputs & {
  /** [image, caption, padding]. */
  hidden_states: SymbolicTensor;
  /** [B, min(D, 256)]. */
  temb: SymbolicTensor;
};

export const zImageTransformer = defineTransformer<ZImageConfig, ZImageState>({
  className: 'ZImageTransformer2DModel',
  separateCfg: false,
  tokens: { hidden_states: 1 },
  float32Modules: ['t_embedder.**'],
  originalNames: zImageNames,

  parseConfig(config) {
    config.requires('siglip_feat_dim', null);
    const frames = config.counts('all_f_patch_size', [1]);
    return {
      channels: config.integer('in_channels', 16),
      blocks: config.layers('n_layers', 30),
      refinerBlocks: config.count('n_refiner_layers', 2),
      heads: config.count('n_heads', 30),
      width: config.integer('dim', 3840),
      captionWidth: config.integer('cap_feat_dim', 2560),
      qkNorm: config.boolean('qk_norm', true),
      epsilon: config.positive('norm_eps', 1e-5),
      timeScale: config.positive('t_scale', 1000),
      rotary: { axesDim: config.counts('axes_dims', [32, 48, 48]), theta: config.positive('rope_theta', 256) },
      patches: config.counts('all_patch_size', [2]).map((size, i) => [frames[i] ?? 1, size, size] as const),
    };
  },

  traits: ({ width, channels, patches, captionWidth }) => ({
    width,
    inChannels: channels,
    outChannels: channels,
    patch: patches[0]!,
    textWidth: captionWidth,
  }),

  inputs: () => [
    { name: 'x', kind: 'other' },
    { name: 't', kind: 'float', shape: ['batch'] },
    { name: 'cap_feats', kind: 'other' },
    { name: 'patch_size', kind: 'other', optional: true },
    { name: 'f_patch_size', kind: 'other', optional: true },
  ],

  prepare({ t }, config, inputs) {
    const images = imagesOf(inputs, config);
    const captions = checkTensorList('cap_feats', inputs.cap_feats, ['tokens', config.captionWidth]);
    const batch = images.length;
    if (captions.length !== batch || t!.size !== batch) {
      throw new DejaDitError(
        'SHAPE_MISMATCH',
        `${batch} image(s) with ${captions.length} caption(s) and ${t!.size} timestep(s), expected as many of each`,
        { path: 'x' },
      );
    }
    const patch = patchOf(inputs, config);
    const patches = images.map((image) => toPatches(image, patch));
    const sequences = arrange(
      patches.map(({ grid }, i) => ({ grid, captionTokens: captions[i]!.dim(0) })),
      config.rotary,
    );
    return {
      tensors: {
        t: t!,
        patches: joinPadded(patches.map(({ tokens }) => tokens)),
        captions: joinPadded(captions),
        ...sequences.tensors,
        ...attentionTensors(sequences.rotary, sequences.mask),
      },
      statics: { patch, imageTokens: sequences.imageTokens },
    };
  },

  prologue(m, inputs, config, { patch }) {
    const { width, refinerBlocks, epsilon, timeScale } = config;
    const { t, patches, image_rows, captions, caption_rows, joined_rows } = inputs;
    const temb = timeEmbedding(m.at('t_embedder.mlp'), t!.mul(timeScale), Math.min(width, 256));

    let image = placed(linear(m.at(`all_x_embedder.${patchName(patch)}`), patches!, width), {
      padToken: m.weight('x_pad_token', [1, width]),
      rows: image_rows!,
    });
    const normedCaptions = rmsNorm(m.at('cap_embedder.0'), captions!, epsilon);
    let caption = placed(linear(m.at('cap_embedder.1'), normedCaptions, width), {
      padToken: m.weight('cap_pad_token', [1, width]),
      rows: caption_rows!,
    });
    const options = (part: 'image' | 'caption') => ({
      config,
      rotary: { cos: inputs[`${part}_cos`]!, sin: inputs[`${part}_sin`]! },
      mask: { keys: inputs[`${part}_keys`], bias: inputs[`${part}_bias`] },
    });
    for (let i = 0; i < refinerBlocks; i++) {
      image = zImageBlock(m.at(`noise_refiner.${i}`), image, { ...options('image'), temb });
      caption = zImageBlock(m.at(`context_refiner.${i}`), caption, options('caption'));
    }
    const rows = concat([image.reshape([-1, width]), caption.reshape([-1, width]), zeroRow(image)], 0);
    return { hidden_states: gather(rows, joined_rows!), temb, ...attentionInputs(inputs) };
  },

  smallestCalls: ({ patches, channels, captionWidth }, ones) =>
    patches.map(([f_patch_size, patch_size]) => {
      const x = [ones([channels, f_patch_size, patch_size, patch_size])];
      return { inputs: { x, cap_feats: [ones([1, captionWidth])], patch_size, f_patch_size } };
    }),

  blockLists: (config) => [
    {
      name: 'layers',
      pattern: 3,
      count: config.blocks,
      block: (m, state) => ({
        hidden_states: zImageBlock(m, state.hidden_states, { ...attentionOptions(state), temb: state.temb, config }),
      }),
    },
  ],

  epilogue(m, { hidden_states, temb }, { width, channels }, { patch, imageTokens }) {
    const final = m.at(`all_final_layer.${patchName(patch)}`);
    const scale = linear(final.at('adaLN_modulation.1'), temb.silu(), width);
    const normed = modulatedLayerNorm(hidden_states.slice(1, 0, imageTokens as number), { scale });
    return linear(
      final.at('linear'),
      normed,
      (patch as Patch).reduce((size, axis) => size * axis, channels),
    );
  },

  /** A tensor per image, each of its own size. */
  present(sample, inputs, config) {
    const patch = patchOf(inputs, config);
    return imagesOf(inputs, config).map((image, i) => fromPatches(sample, { index: i, shape: image.shape, patch }));
  },
});

interface BlockOptions extends Partial<ReturnType<typeof attentionOptions>> {
  config: ZImageConfig;
  /** Absent in the caption's refiner. */
  temb?: SymbolicTensor;
}

/** Attention and feed-forward, each between two norms. */
const zImageBlock = layer((m, x: SymbolicTensor, { config, temb, ...options }: BlockOptions): SymbolicTensor => {
  const { heads, width, qkNorm, epsilon } = config;
  const vectors = temb && linear(m.at('adaLN_modulation.0'), perToken(temb), 4 * width).chunk(4);
  const [ofAttention, ofMlp] = sandwichModulations(vectors);
  const norm = (name: string) => (y: SymbolicTensor) => rmsNorm(m.at(name), y, epsilon);

  const attended = sandwichResidual(x, {
    modulation: ofAttention,
    normBefore: norm('attention_norm1'),
    sublayer: (y) =>
      attention(m.at('attention'), y, {
        heads,
        qkNorm: qkNorm ? { kind: 'rms_norm', epsilon: 1e-5 } : undefined,
        projectionBias: false,
        outputBias: false,
        ...options,
      }),
    normAfter: norm('attention_norm2'),
  });
  return sandwichResidual(attended, {
    modulation: ofMlp,
    normBefore: norm('ffn_norm1'),
    sublayer: (y) =>
      gatedFeedForward(m.at('feed_forward'), y, {
        inner: Math.floor((width / 3) * 8),
        bias: false,
        names: { gate: 'w1', value: 'w3', out: 'w2' },
      }),
    normAfter: norm('ffn_norm2'),
  });
});

/** Time features through an MLP of fixed inner width. */
const timeEmbedding = layer((m, time: SymbolicTensor, width: number): SymbolicTensor => {
  return linear(m.at(2), linear(m.at(0), sinusoidalEmbedding(time, { dim: 256 }), 1024).silu(), width);
});

/** Tokens of all samples [Σ tokens, D] at their places [B, S, D]; the rows behind them are the learned padding and zeros. */
function placed(
  tokens: SymbolicTensor,
  { padToken, rows }: { padToken: SymbolicTensor; rows: SymbolicTensor },
): SymbolicTensor {
  return gather(concat([tokens, padToken, zeroRow(tokens)], 0), rows);
}

function zeroRow(x: SymbolicTensor): SymbolicTensor {
  return x.graph.scalar(0).expand([1, x.dim(-1)]);
}

function imagesOf({ x }: ForwardInputs, { channels }: ZImageConfig): Tensor[] {
  if (Array.isArray(x) && Array.isArray(x[0])) {
    throw new DejaDitError('UNSUPPORTED', 'several images per sample ("omni" mode) are not supported', { path: 'x' });
  }
  return checkTensorList('x', x, [channels, 'frames', 'height', 'width']);
}

function patchOf({ patch_size = 2, f_patch_size = 1 }: ForwardInputs, { patches }: ZImageConfig): Patch {
  const found = patches.find(([frames, rows]) => frames === f_patch_size && rows === patch_size);
  if (found) return found;
  const known = patches.map(([frames, rows]) => `${rows} with f_patch_size ${frames}`).join(', ');
  throw new DejaDitError('INVALID_ARGUMENT', `${patch_size} with f_patch_size ${f_patch_size}, expected ${known}`, {
    path: 'patch_size',
  });
}

/** How the checkpoint names the layers of a patch size: rows, then frames. */
function patchName(patch: unknown): string {
  const [frames, rows] = patch as Patch;
  return `${rows}-${frames}`;
}
