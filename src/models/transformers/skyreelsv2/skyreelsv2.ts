/**
 * SkyReels-V2 (Skywork, 2025, arXiv 2504.13074), Diffusers' `SkyReelsV2Transformer3DModel`: Wan 2.1 for videos without end.
 *
 * With "diffusion forcing" every latent frame has a time of its own, so that given frames are clean while later ones begin as noise; with
 * causal blocks of frames, tokens see those of their own block and of earlier ones. Some checkpoints are told whether the video has
 * 16 or 24 frames a second.
 */

import { DejaDitError } from '../../../errors/errors.ts';
import type { GraphBuilder } from '../../../graph/builder.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { MASKED } from '../../../nn/attention/attention-mask.ts';
import { embedding } from '../../../nn/embeddings.ts';
import { feedForward } from '../../../nn/linear.ts';
import { patchGrid } from '../../../nn/patches.ts';
import { dims, floatTensor, type Tensor } from '../../../tensor/tensor.ts';
import { defineTransformer } from '../../definition.ts';
import { type WanConfig, type WanState, wanDefinition } from '../wan/wan.ts';

interface SkyReelsConfig extends WanConfig {
  /** Whether the frame rate is a condition. */
  sampleInfo: boolean;
  /** Frames that see each other, and all before. */
  framesPerBlock: number;
}

export const skyReelsV2Transformer = defineTransformer<SkyReelsConfig, WanState>({
  ...wanDefinition,
  className: 'SkyReelsV2Transformer3DModel',

  parseConfig(config) {
    const sizes = { heads: 16, outChannels: 16, mlpWidth: 8192, blocks: 32 };
    return {
      ...wanDefinition.parseConfig(config),
      heads: config.count('num_attention_heads', sizes.heads),
      width: config.count('num_attention_heads', sizes.heads) * config.count('attention_head_dim', 128),
      feedForwardWidth: config.integer('ffn_dim', sizes.mlpWidth),
      blocks: config.layers('num_layers', sizes.blocks),
      sampleInfo: config.boolean('inject_sample_info', false),
      framesPerBlock: config.count('num_frame_per_block', 1),
    };
  },

  inputs: (config) => [
    ...wanDefinition
      .inputs(config)
      .map((input) =>
        input.name === 'timestep'
          ? ({ name: 'timestep', kind: 'float', shape: ['batch'], orShape: ['batch', 'frames'] } as const)
          : input,
      ),
    { name: 'enable_diffusion_forcing', kind: 'other', optional: true },
    ...(config.sampleInfo ? [{ name: 'fps', kind: 'int', shape: ['rates'] } as const] : []),
  ],

  prepare({ timestep, ...tensors }, config, inputs) {
    const grid = patchGrid('hidden_states', tensors.hidden_states!, config.patch);
    const forcing = timestep!.shape.length === 2;
    if (Boolean(inputs.enable_diffusion_forcing) !== forcing) {
      const expected = forcing
        ? 'true, since each frame has a time'
        : "false, since each sample has one time; 'timestep' [B, frames]";
      throw new DejaDitError('INVALID_ARGUMENT', `expected ${expected}`, { path: 'enable_diffusion_forcing' });
    }
    const perToken = forcing ? tokensOfFrames(timestep!, grid) : timestep!;
    return wanDefinition.prepare!({ ...tensors, timestep: perToken }, config, inputs);
  },

  prologue(m, inputs, config, statics) {
    const state = wanDefinition.prologue(m, inputs, config, statics);
    const { width, sampleInfo, framesPerBlock } = config;
    if (sampleInfo) {
      const rate = embedding(m.at('fps_embedding'), inputs.fps!, { count: 2, width });
      const shared = feedForward(m.at('fps_projection'), rate, {
        activation: 'linear-silu',
        inner: width,
        out: 6 * width,
      });
      state.shared_modulation = state.shared_modulation.add(shared.reshape([-1, 6, width]));
    }
    return framesPerBlock === 1
      ? state
      : { ...state, attention_bias: causalBias(m.graph, statics.grid as number[], framesPerBlock) };
  },

  smallestCalls: (config) =>
    wanDefinition.smallestCalls!(config, () => floatTensor([])).map((call) => ({
      sizes: { ...call.sizes, frames: config.patch[0] * config.framesPerBlock },
    })),

  blockLists: (config) => wanDefinition.blockLists(config).map((list) => ({ ...list, pattern: 3 })),
});

/** Times of latent frames [B, frames] as those of tokens. */
function tokensOfFrames(timestep: Tensor, [frames, rows, columns]: readonly [number, number, number]): Tensor {
  const [batch, given] = dims(timestep, 2);
  if (given !== frames) {
    throw new DejaDitError('SHAPE_MISMATCH', `shape [${timestep.shape}], expected [batch, ${frames}]`, {
      path: 'timestep',
    });
  }
  const cells = rows * columns;
  const times = Float32Array.from({ length: batch * frames * cells }, (_, i) => timestep.f32[Math.floor(i / cells)]!);
  return floatTensor(times, [batch, frames * cells]);
}

/** [1, 1, S, S], which hides later blocks of frames. */
function causalBias(
  graph: GraphBuilder,
  [frames, rows, columns]: readonly number[],
  framesPerBlock: number,
): SymbolicTensor {
  const cells = rows! * columns!;
  const block = (frame: number) => Math.floor(frame / framesPerBlock);
  const ofFrames = Float32Array.from({ length: frames! ** 2 }, (_, i) =>
    block(i % frames!) <= block(Math.floor(i / frames!)) ? 0 : MASKED,
  );
  return graph
    .constant(floatTensor(ofFrames, [frames!, 1, frames!, 1]))
    .expand([frames!, cells, frames!, cells])
    .reshape([1, 1, frames! * cells, frames! * cells]);
}
