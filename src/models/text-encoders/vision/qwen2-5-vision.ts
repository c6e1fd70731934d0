/**
 * Qwen2.5-VL's vision tower (arXiv 2502.13923): patches of pictures in their own sizes, most layers attending within windows, and
 * merge×merge patches made one token of the language model's width.
 */
import { gather, gemm } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend } from '../../../nn/attention/attention.ts';
import { linear } from '../../../nn/linear.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { rmsNorm } from '../../../nn/norms.ts';
import { type Rotary, rotaryTables } from '../../../nn/rotary.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import type { State } from '../../definition.ts';
import { type HiddenActivation, hiddenActivation, hiddenActivations } from '../activation.ts';
import {
  frameSegments,
  type PatchGrid,
  patchPlaces,
  type Segments,
  segmentTensors,
  windowSegments,
} from './patch-layout.ts';

export interface QwenVisionConfig {
  width: number;
  inner: number;
  layers: number;
  heads: number;
  activation: HiddenActivation;
  channels: number;
  /** Frames, rows and columns of a patch; a picture is repeated to fill its frames. */
  patch: readonly [number, number, number];
  /** Edge of the square of patches that is one token. */
  merge: number;
  /** Tokens along the edge of a window. */
  window: number;
  /** Layers that attend to all of a picture. */
  wholeLayers: readonly number[];
  /** Of the tokens. */
  outWidth: number;
}

const epsilon = 1e-6;

/** Reads a `vision_config`. */
export function parseQwenVision(config: ConfigReader): QwenVisionConfig {
  const [patch, merge] = [config.count('patch_size', 14), config.count('spatial_merge_size', 2)];
  return {
    width: config.integer('hidden_size', 3584),
    inner: config.integer('intermediate_size', 3420),
    layers: config.count('depth', 32),
    heads: config.count('num_heads', 16),
    activation: config.choice('hidden_act', hiddenActivations, 'silu'),
    channels: config.count('in_channels', 3),
    patch: [config.count('temporal_patch_size', 2), patch, patch],
    merge,
    window: Math.max(1, Math.floor(config.integer('window_size', 112) / merge / patch)),
    wholeLayers: config.integers('fullatt_block_indexes', [7, 15, 23, 31]),
    outWidth: config.integer('out_hidden_size', 3584),
  };
}

/** The tower's inputs beside the patches. */
export function visionTensors(grids: readonly PatchGrid[], config: QwenVisionConfig): Record<string, Tensor> {
  const { merge, width, heads } = config;
  const axis = width / heads / 2;
  const { cos, sin } = rotaryTables(patchPlaces(grids, merge), {
    axesDim: [axis, axis],
    theta: 10000,
    precision: 'single',
  });
  const named = (kind: string, { rows, back, bias }: Segments<Tensor>) => ({
    [`${kind}_rows`]: rows,
    [`${kind}_back`]: back,
    ...(bias ? { [`${kind}_bias`]: bias } : {}),
  });
  return {
    patch_cos: cos.reshape([cos.dim(1), cos.dim(2)]),
    patch_sin: sin.reshape([sin.dim(1), sin.dim(2)]),
    ...named('frame', segmentTensors(frameSegments(grids))),
    ...named('window', segmentTensors(windowSegments(grids, config))),
  };
}

/** Patches [patches, channels · frames · rows · columns] as tokens [patches / merge², outWidth]. */
export const visionTower = layer((m, inputs: State, config: QwenVisionConfig): SymbolicTensor => {
  const { width, channels, patch, merge, outWidth, layers, wholeLayers } = config;
  const kernel = m
    .at('patch_embed.proj')
    .weight('weight', [width, channels, ...patch])
    .reshape([width, -1]);
  let x = gemm(inputs.pixel_values!, kernel);
  for (let index = 0; index < layers; index++) {
    const kind = wholeLayers.includes(index) ? 'frame' : 'window';
    const segments = { rows: inputs[`${kind}_rows`]!, back: inputs[`${kind}_back`]!, bias: inputs[`${kind}_bias`] };
    x = block(m.at(`blocks.${index}`), x, { segments, cos: inputs.patch_cos!, sin: inputs.patch_sin!, config });
  }
  const merger = m.at('merger');
  const merged = width * merge ** 2;
  const joined = rmsNorm(merger.at('ln_q'), x, epsilon).reshape([-1, merged]);
  return linear(merger.at('mlp.2'), linear(merger.at('mlp.0'), joined, merged).gelu(), outWidth);
});

interface VisionBlock extends Pick<Rotary, 'cos' | 'sin'> {
  segments: Segments<SymbolicTensor>;
  config: QwenVisionConfig;
}

const block = layer((m, x: SymbolicTensor, options: VisionBlock): SymbolicTensor => {
  const { inner, width, activation } = options.config;
  const attended = x.add(attention(m.at('attn'), rmsNorm(m.at('norm1'), x, epsilon), options));
  const normed = rmsNorm(m.at('norm2'), attended, epsilon);
  const mlp = m.at('mlp');
  const gate = hiddenActivation(linear(mlp.at('gate_proj'), normed, inner), activation);
  return attended.add(linear(mlp.at('down_proj'), gate.mul(linear(mlp.at('up_proj'), normed, inner)), width));
});

/** Attention of x [patches, width] within segments. */
const attention = layer((m: Module, x: SymbolicTensor, { segments, cos, sin, config }: VisionBlock): SymbolicTensor => {
  const { width, heads } = config;
  const { rows, back, bias } = segments;
  const within = (tensor: SymbolicTensor) => gather(tensor, rows);
  const [query, key, value] = linear(m.at('qkv'), x, 3 * width)
    .chunk(3)
    .map(within) as [SymbolicTensor, SymbolicTensor, SymbolicTensor];
  const attended = attend({
    query,
    key,
    value,
    heads,
    rotary: { cos: within(cos), sin: within(sin), interleaved: false },
    mask: { bias },
  });
  return linear(m.at('proj'), gather(attended.reshape([-1, width]), back), width);
});
