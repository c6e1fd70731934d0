/** What a language model sees with: what it has to say of pictures' patches, and what the towers of the Qwen-VL models have in common. */
import { gather, gemm } from '../../../graph/ops.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend } from '../../../nn/attention/attention.ts';
import { linear } from '../../../nn/linear.ts';
import { layer, type Module } from '../../../nn/module.ts';
import { type Rotary, rotaryTables } from '../../../nn/rotary.ts';
import type { Tensor } from '../../../tensor/tensor.ts';
import { ConfigReader } from '../../config-reader.ts';
import type { State } from '../../definition.ts';
import { frameSegments, type PatchGrid, patchPlaces, type Segments, segmentTensors } from './patch-layout.ts';

/** Patches of pictures in their own sizes, merge×merge of which become one token of the language model's width. */
export interface VisionTower {
  channels: number;
  /** Frames, rows and columns of a patch; a picture is repeated to fill its frames. */
  patch: readonly [number, number, number];
  /** Edge of the square of patches that is one token. */
  merge: number;
  /** Of the tokens. */
  outWidth: number;
  /** Inputs of `emit` beside `pixel_values`. */
  tensors(grids: readonly PatchGrid[]): Record<string, Tensor>;
  /** @param inputs with `pixel_values` [patches, channels · frames · rows · columns] */
  emit(m: Module, inputs: State): SeenPictures;
}

export interface SeenPictures {
  /** [patches / merge², outWidth]. */
  tokens: SymbolicTensor;
  /** What is added to them behind the language model's first layers, one after the other. */
  deepstack: readonly SymbolicTensor[];
}

/** What every tower's config has under the same names. */
export interface PatchConfig {
  width: number;
  heads: number;
  channels: number;
  patch: readonly [number, number, number];
  merge: number;
  /** Base of the rotary frequencies. */
  theta: number;
}

/** @param defaults of patches in pixels, and of the width */
export function parsePatches(config: ConfigReader, defaults: { patch: number; width: number }): PatchConfig {
  const patch = config.count('patch_size', defaults.patch);
  const { rope_parameters: rope } = config.json;
  const rotary = new ConfigReader(typeof rope === 'object' && rope !== null ? { ...rope } : {}, config.origin);
  return {
    width: config.integer('hidden_size', defaults.width),
    heads: config.count('num_heads', 16),
    channels: config.count('in_channels', 3),
    patch: [config.count('temporal_patch_size', 2), patch, patch],
    merge: config.count('spatial_merge_size', 2),
    theta: rotary.positive('rope_theta', 10000),
  };
}

/** Rotary positions of all patches, and which of them are one picture's frame. */
export function patchTensors(
  grids: readonly PatchGrid[],
  { merge, width, heads, theta }: PatchConfig,
): Record<string, Tensor> {
  const axis = width / heads / 2;
  const { cos, sin } = rotaryTables(patchPlaces(grids, merge), {
    axesDim: [axis, axis],
    theta,
    precision: 'single',
  });
  return {
    patch_cos: cos.reshape([cos.dim(1), cos.dim(2)]),
    patch_sin: sin.reshape([sin.dim(1), sin.dim(2)]),
    ...namedSegments('frame', segmentTensors(frameSegments(grids))),
  };
}

export function namedSegments(kind: string, { rows, back, bias }: Segments<Tensor>): Record<string, Tensor> {
  return { [`${kind}_rows`]: rows, [`${kind}_back`]: back, ...(bias ? { [`${kind}_bias`]: bias } : {}) };
}

/** Patches of pixels [patches, channels · frames · rows · columns] as [patches, width]. @param bias default: none */
export function embedPatches(
  m: Module,
  pixels: SymbolicTensor,
  { width, channels, patch, bias = false }: PatchConfig & { bias?: boolean },
): SymbolicTensor {
  const proj = m.at('patch_embed.proj');
  const kernel = proj.weight('weight', [width, channels, ...patch]).reshape([width, -1]);
  return gemm(pixels, kernel, bias ? proj.weight('bias', [width]) : undefined);
}

export interface PatchAttention extends Pick<Rotary, 'cos' | 'sin'> {
  segments: Segments<SymbolicTensor>;
  width: number;
  heads: number;
}

/** What `patchAttention` takes of a tower's inputs. @param kind of the segments */
export function attentionInputs(
  inputs: State,
  kind: string,
  { width, heads }: Pick<PatchConfig, 'width' | 'heads'>,
): PatchAttention {
  const segments = { rows: inputs[`${kind}_rows`]!, back: inputs[`${kind}_back`]!, bias: inputs[`${kind}_bias`] };
  return { segments, cos: inputs.patch_cos!, sin: inputs.patch_sin!, width, heads };
}

/** Attention of x [patches, width] within segments. */
export const patchAttention = layer(
  (m: Module, x: SymbolicTensor, { segments, cos, sin, width, heads }: PatchAttention): SymbolicTensor => {
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
  },
);
