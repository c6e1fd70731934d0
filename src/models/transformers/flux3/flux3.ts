/**
 * FLUX.3 (Black Forest Labs, 2026), Diffusers' `Flux3Transformer2DModel`: text, picture and reference pictures first pass through blocks
 * of their own, without seeing each other, and then through blocks over all of them.
 *
 * Notation: D = heads · head dim is the width; tokens are [text, image, references] at positions of four axes. Attention and MLP run side
 * by side in every block and share its norm; no layer has a bias. One modulation per kind of token and stage is made from the time and
 * shared by all blocks; text and references, which are given, are modulated as at time 0. "Flow map" models are also told the time that
 * the step ends at.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import { concat } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attention } from '../../../nn/attention/attention.ts';
import { sinusoidalEmbedding, timestepEmbedding } from '../../../nn/embeddings.ts';
import { fusedFeedForward, linear } from '../../../nn/linear.ts';
import { modulatedResidual, sublayerModulations } from '../../../nn/modulation.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { adaLayerNormContinuous, modulatedLayerNorm, perToken } from '../../../nn/norms.ts';
import { type Rotary, rotaryTables } from '../../../nn/rotary.ts';
import { rows } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { type FluxSizes, fluxSizes, packedTraits } from '../flux/flux-family.ts';

interface Flux3Config extends Omit<FluxSizes, 'doubleBlocks'> {
  referenceChannels: number;
  modeBlocks: number;
  mlpWidth: number;
  timeFeatures: number;
  flowMap: boolean;
  theta: number;
  epsilon: number;
}

type Flux3State = {
  /** The image; from the single blocks on, [image, references]. */
  hidden_states: SymbolicTensor;
  encoder_hidden_states: SymbolicTensor;
  references?: SymbolicTensor;
  /** [B, D], of the image. */
  temb: SymbolicTensor;
  /** Of the image in blocks of its own, [B, 1, 3·D]. */
  image_modulation: SymbolicTensor;
  /** In the single blocks, of text, [B, 1, 3·D], and of image and references, [B, 1 or S, 3·D]. */
  text_modulation: SymbolicTensor;
  content_modulation: SymbolicTensor;
  rotary_cos: SymbolicTensor;
  rotary_sin: SymbolicTensor;
};

const noBias = { bias: false };

export const flux3Transformer = defineTransformer<Flux3Config, Flux3State>({
  className: 'Flux3Transformer2DModel',
  separateCfg: true,
  tokens: { hidden_states: 1, encoder_hidden_states: 1, references: 1 },
  float32Modules: ['timestep_embedder.**', 'target_timestep_embedder.**'],
  cacheGroups: [['single_transformer_blocks']],

  parseConfig(config) {
    const { doubleBlocks: modeBlocks, ...sizes } = fluxSizes(config, {
      inChannels: 128,
      doubleBlocks: 5,
      singleBlocks: 28,
      textWidth: 20480,
      axesDim: [32, 32, 32, 32],
    });
    return {
      ...sizes,
      referenceChannels: config.integer('cond_in_channels', 128),
      modeBlocks,
      mlpWidth: Math.floor(sizes.width * config.positive('mlp_ratio', 3)),
      timeFeatures: config.count('timestep_channels', 256),
      flowMap: config.boolean('flow_map', false),
      theta: config.positive('rope_theta', 10000),
      epsilon: config.positive('eps', 1e-6),
    };
  },

  traits: (config) => ({ ...packedTraits({ ...config, outChannels: config.inChannels }), targetTime: config.flowMap }),

  inputs: ({ inChannels, referenceChannels, textWidth, flowMap, axesDim: { length: axes } }) => [
    { name: 'hidden_states', kind: 'float', shape: ['batch', 'image_tokens', inChannels] },
    { name: 'encoder_hidden_states', kind: 'float', shape: ['batch', 'text_tokens', textWidth] },
    { name: 'timestep', kind: 'float', shape: ['batch'] },
    { name: 'img_ids', kind: 'float', shape: ['image_tokens', axes] },
    { name: 'txt_ids', kind: 'float', shape: ['text_tokens', axes] },
    {
      name: 'image_cond_hidden_states',
      kind: 'float',
      shape: ['batch', 'cond_tokens', referenceChannels],
      optional: true,
    },
    { name: 'image_cond_ids', kind: 'float', shape: ['cond_tokens', axes], optional: true },
    ...(flowMap ? [{ name: 'target_timestep', kind: 'float', shape: ['batch'] } as const] : []),
  ],

  prepare({ img_ids, txt_ids, image_cond_ids, ...tensors }, { axesDim, theta }) {
    const references = tensors.image_cond_hidden_states;
    if (Boolean(references) !== Boolean(image_cond_ids)) {
      const [missing, given] = references ? ['ids', 'hidden_states'] : ['hidden_states', 'ids'];
      throw new DejaDitError('INVALID_ARGUMENT', `missing input, it goes with image_cond_${given}`, {
        path: `image_cond_${missing}`,
      });
    }
    const positions = [...rows(txt_ids!), ...rows(img_ids!), ...(image_cond_ids ? rows(image_cond_ids) : [])];
    const rotary = rotaryTables(positions, { axesDim, theta });
    return {
      tensors: { ...tensors, rotary_cos: rotary.cos, rotary_sin: rotary.sin },
      statics: { imageTokens: img_ids!.dim(0) },
    };
  },

  prologue(m, inputs, config) {
    const { width, modeBlocks, timeFeatures } = config;
    const rotary = { cos: inputs.rotary_cos!, sin: inputs.rotary_sin! };
    const embed = (name: string, time: SymbolicTensor) =>
      timestepEmbedding(m.at(name), sinusoidalEmbedding(time, { dim: timeFeatures }), width, noBias);
    const target = inputs.target_timestep && embed('target_timestep_embedder', inputs.target_timestep.mul(1000));
    const timeOf = (time: SymbolicTensor) => {
      const embedded = embed('timestep_embedder', time);
      return target ? embedded.add(target) : embedded;
    };
    const [now, zero] = [timeOf(inputs.timestep!.mul(1000)), timeOf(inputs.timestep!.mul(0))];
    const modulation = (stage: 'early' | 'single', kind: string, temb: SymbolicTensor) =>
      perToken(linear(m.at(`${stage}_stream_modulations.${kind}.linear`), temb.silu(), 3 * width, noBias));
    const refined = (list: string, x: SymbolicTensor, kind: string, place: Rotary) =>
      Array.from({ length: modeBlocks }).reduce<SymbolicTensor>(
        (tokens, _, i) =>
          modeBlock(m.at(`${list}.${i}`), tokens, {
            modulation: modulation('early', kind, zero),
            rotary: place,
            config,
          }),
        x,
      );

    const image = linear(m.at('x_embedders.image'), inputs.hidden_states!, width, noBias);
    const embeddedText = linear(m.at('context_embedder'), inputs.encoder_hidden_states!, width, noBias);
    const [ofText, ofOthers] = [tokensOf(rotary, 0, embeddedText.dim(1)), embeddedText.dim(1) + image.dim(1)];
    const content = modulation('single', 'image', now);
    const given = inputs.image_cond_hidden_states;
    const references =
      given &&
      refined(
        'mode_blocks.image_cond',
        linear(m.at('x_embedders.image_cond'), given, width, noBias),
        'image_cond',
        tokensOf(rotary, ofOthers, ofOthers + given.dim(1)),
      );
    const spread = (vectors: SymbolicTensor, tokens: number) => vectors.expand([image.dim(0), tokens, 3 * width]);
    return {
      hidden_states: image,
      encoder_hidden_states: refined('txt_mode_blocks', embeddedText, 'txt', ofText),
      ...(references ? { references } : {}),
      temb: now,
      image_modulation: modulation('early', 'image', now),
      text_modulation: modulation('single', 'txt', zero),
      content_modulation: references
        ? concat(
            [spread(content, image.dim(1)), spread(modulation('single', 'image_cond', zero), references.dim(1))],
            1,
          )
        : content,
      rotary_cos: rotary.cos,
      rotary_sin: rotary.sin,
    };
  },

  blockLists: (config) => [
    {
      name: 'mode_blocks.image',
      pattern: 3,
      count: config.modeBlocks,
      block: (m, { hidden_states, encoder_hidden_states, image_modulation, rotary_cos: cos, rotary_sin: sin }) => {
        const start = encoder_hidden_states.dim(1);
        const rotary = tokensOf({ cos, sin }, start, start + hidden_states.dim(1));
        return { hidden_states: modeBlock(m, hidden_states, { modulation: image_modulation, rotary, config }) };
      },
    },
    {
      name: 'single_transformer_blocks',
      pattern: 1,
      count: config.singleBlocks,
      enter: (_, { hidden_states, references }) =>
        references ? { hidden_states: concat([hidden_states, references], 1) } : {},
      block: (m, state) => singleBlock(m, state, config),
    },
  ],

  epilogue(m, { hidden_states, temb }, { inChannels, epsilon }, { imageTokens }) {
    const image = hidden_states.slice(1, 0, Number(imageTokens));
    const normed = adaLayerNormContinuous(m.at('norm_out'), image, temb, { epsilon, ...noBias });
    return linear(m.at('proj_out'), normed, inChannels, noBias);
  },
});

/** The tables of tokens `from` to `to`. */
const tokensOf = ({ cos, sin }: Rotary, from: number, to: number): Rotary => ({
  cos: cos.slice(1, from, to),
  sin: sin.slice(1, from, to),
});

interface ModeBlock {
  /** [B, 1, 3·D]. */
  modulation: SymbolicTensor;
  rotary: Rotary;
  config: Flux3Config;
}

/** One kind of token through attention and MLP side by side. */
const modeBlock = layer((m, x: SymbolicTensor, { modulation, rotary, config }: ModeBlock): SymbolicTensor => {
  const [ofBlock] = sublayerModulations(modulation.chunk(3), 1);
  return modulatedResidual(x, {
    modulation: ofBlock,
    epsilon: config.epsilon,
    sublayer: (normed) => parallel(m, normed, { rotary, config }),
  });
});

/** All tokens, each kind with its own modulation. */
const singleBlock = layer((m, state: Flux3State, config: Flux3Config): Partial<Flux3State> => {
  const { encoder_hidden_states: text, hidden_states: content } = state;
  const [ofText] = sublayerModulations(state.text_modulation.chunk(3), 1);
  const [ofContent] = sublayerModulations(state.content_modulation.chunk(3), 1);
  const normed = concat(
    [modulatedLayerNorm(text, ofText, config.epsilon), modulatedLayerNorm(content, ofContent, config.epsilon)],
    1,
  );
  const rotary = { cos: state.rotary_cos, sin: state.rotary_sin };
  const [textOut, contentOut] = parallel(m, normed, { rotary, config }).split(1, [text.dim(1), content.dim(1)]);
  return {
    encoder_hidden_states: text.add(ofText.gate.mul(textOut)),
    hidden_states: content.add(ofContent.gate.mul(contentOut)),
  };
});

/** The sum of attention and MLP of x [B, S, D]. */
function parallel(m: Module, x: SymbolicTensor, { rotary, config }: Omit<ModeBlock, 'modulation'>): SymbolicTensor {
  const { heads, mlpWidth, epsilon } = config;
  const attended = attention(m.at('attn'), x, {
    heads,
    qkNorm: { kind: 'rms_norm', epsilon },
    projectionBias: false,
    outputBias: false,
    rotary,
  });
  return attended.add(
    fusedFeedForward(m.at('ff'), x, { inner: mlpWidth, names: { in: 'linear_in', out: 'linear_out' } }),
  );
}
