/**
 * Qwen3-VL's vision tower (arXiv 2511.21631): learned positions beside the rotary ones, and tokens of several depths, those of the inner
 * layers for the first layers of the language model (DeepStack, arXiv 2406.04334).
 */
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { embedding } from '../../../nn/embeddings.ts';
import { linear } from '../../../nn/linear.ts';
import { layer } from '../../../nn/module.ts';
import { layerNorm } from '../../../nn/norms.ts';
import { floatTensor, intTensor, type Tensor } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import type { State } from '../../definition.ts';
import { type HiddenActivation, hiddenActivation, hiddenActivations } from '../activation.ts';
import { type PatchGrid, patchPlaces } from './patch-layout.ts';
import {
  attentionInputs,
  embedPatches,
  type PatchAttention,
  type PatchConfig,
  parsePatches,
  patchAttention,
  patchTensors,
  type SeenPictures,
  type VisionTower,
} from './vision-tower.ts';

interface VisionConfig extends PatchConfig {
  inner: number;
  layers: number;
  activation: HiddenActivation;
  /** Learned positions, those of a square. */
  positions: number;
  /** Layers behind which tokens are made too, each by the merger that has its place in this list. */
  deepstack: readonly number[];
  outWidth: number;
}

const epsilon = 1e-6;

/** Reads a `vision_config`. */
export function qwen3Vision(reader: ConfigReader): VisionTower {
  const layers = reader.count('depth', 27);
  const config: VisionConfig = {
    ...parsePatches(reader, { patch: 16, width: 1152 }),
    inner: reader.integer('intermediate_size', 4304),
    layers,
    activation: reader.choice('hidden_act', hiddenActivations, 'gelu_pytorch_tanh'),
    positions: reader.count('num_position_embeddings', 2304),
    deepstack: reader.integers('deepstack_visual_indexes', [8, 16, 24], { min: 0, max: layers - 1 }),
    outWidth: reader.integer('out_hidden_size', 3584),
  };
  return {
    ...config,
    tensors: (grids) => ({ ...patchTensors(grids, config), ...learnedPositions(grids, config) }),
    emit: (m, inputs) => tower(m, inputs, config),
  };
}

/** For every patch the four learned positions around its place in the picture, which the square is stretched over, and their shares. */
function learnedPositions(grids: readonly PatchGrid[], { merge, positions }: VisionConfig): Record<string, Tensor> {
  const side = Math.floor(Math.sqrt(positions));
  const ids: number[] = [];
  const shares: number[] = [];
  for (const grid of grids) {
    for (const [row, column] of patchPlaces([grid], merge)) {
      for (const down of neighbours(row, grid.rows, side)) {
        for (const across of neighbours(column, grid.columns, side)) {
          ids.push(down.place * side + across.place);
          shares.push(Math.fround(down.share * across.share));
        }
      }
    }
  }
  const patches = ids.length / 4;
  return { position_rows: intTensor(ids, [patches, 4]), position_shares: floatTensor(shares, [patches, 1, 4]) };
}

/** The two of `side` places that one of `count` lies between when both rows are equally long, rounded as PyTorch does. */
function neighbours(index: number, count: number, side: number): { place: number; share: number }[] {
  const at = Math.fround((index * (side - 1)) / Math.max(1, count - 1));
  const before = Math.floor(at);
  const behind = Math.fround(at - before);
  return [
    { place: before, share: Math.fround(1 - behind) },
    { place: Math.min(before + 1, side - 1), share: behind },
  ];
}

const tower = layer((m, inputs: State, config: VisionConfig): SeenPictures => {
  const { width, positions, layers } = config;
  const around = embedding(m.at('pos_embed'), inputs.position_rows!, { count: positions, width });
  const places = inputs.position_shares!.matmul(around).reshape([-1, width]);
  let x = embedPatches(m, inputs.pixel_values!, { ...config, bias: true }).add(places);
  const attention = attentionInputs(inputs, 'frame', config);
  const deepstack: SymbolicTensor[] = [];
  for (let index = 0; index < layers; index++) {
    x = block(m.at(`blocks.${index}`), x, config, attention);
    const merger = config.deepstack.indexOf(index);
    if (merger >= 0) deepstack.push(merge(m.at(`deepstack_merger_list.${merger}`), x, config, 'joined'));
  }
  return { tokens: merge(m.at('merger'), x, config, 'patches'), deepstack };
});

const block = layer((m, x: SymbolicTensor, config: VisionConfig, attention: PatchAttention): SymbolicTensor => {
  const attended = x.add(patchAttention(m.at('attn'), layerNorm(m.at('norm1'), x, epsilon), attention));
  const normed = layerNorm(m.at('norm2'), attended, epsilon);
  const inner = hiddenActivation(linear(m.at('mlp.linear_fc1'), normed, config.inner), config.activation);
  return attended.add(linear(m.at('mlp.linear_fc2'), inner, config.width));
});

/** Patches [patches, width] as tokens [patches / merge², outWidth]. @param normed what has a norm: every patch, or those of a token joined */
const merge = layer((m, x: SymbolicTensor, config: VisionConfig, normed: 'patches' | 'joined'): SymbolicTensor => {
  const width = config.width * config.merge ** 2;
  const norm = (value: SymbolicTensor) => layerNorm(m.at('norm'), value, epsilon);
  const joined = normed === 'joined' ? norm(x.reshape([-1, width])) : norm(x).reshape([-1, width]);
  return linear(m.at('linear_fc2'), linear(m.at('linear_fc1'), joined, width).gelu(), config.outWidth);
});
