/** Qwen2.5-VL's vision tower (arXiv 2502.13923): most layers attend within windows. */
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { linear } from '../../../nn/linear.ts';
import { layer } from '../../../nn/module.ts';
import { rmsNorm } from '../../../nn/norms.ts';
import type { ConfigReader } from '../../config-reader.ts';
import type { State } from '../../definition.ts';
import { type HiddenActivation, hiddenActivation, hiddenActivations } from '../activation.ts';
import { segmentTensors, windowSegments } from './patch-layout.ts';
import {
  attentionInputs,
  embedPatches,
  namedSegments,
  type PatchAttention,
  type PatchConfig,
  parsePatches,
  patchAttention,
  patchTensors,
  type VisionTower,
} from './vision-tower.ts';

interface VisionConfig extends PatchConfig {
  inner: number;
  layers: number;
  activation: HiddenActivation;
  /** Tokens along the edge of a window. */
  window: number;
  /** Layers that attend to all of a picture. */
  wholeLayers: readonly number[];
  outWidth: number;
}

const epsilon = 1e-6;

/** Reads a `vision_config`. */
export function qwen25Vision(reader: ConfigReader): VisionTower {
  const patches = parsePatches(reader, { patch: 14, width: 3584 });
  const config: VisionConfig = {
    ...patches,
    inner: reader.integer('intermediate_size', 3420),
    layers: reader.count('depth', 32),
    activation: reader.choice('hidden_act', hiddenActivations, 'silu'),
    window: Math.max(1, Math.floor(reader.integer('window_size', 112) / patches.merge / patches.patch[1])),
    wholeLayers: reader.integers('fullatt_block_indexes', [7, 15, 23, 31]),
    outWidth: reader.integer('out_hidden_size', 3584),
  };
  return {
    ...config,
    tensors: (grids) => ({
      ...patchTensors(grids, config),
      ...namedSegments('window', segmentTensors(windowSegments(grids, config))),
    }),
    emit: (m, inputs) => ({ tokens: tower(m, inputs, config), deepstack: [] }),
  };
}

const tower = layer((m, inputs: State, config: VisionConfig): SymbolicTensor => {
  const { width, merge, outWidth, layers, wholeLayers } = config;
  let x = embedPatches(m, inputs.pixel_values!, config);
  for (let index = 0; index < layers; index++) {
    const kind = wholeLayers.includes(index) ? 'frame' : 'window';
    x = block(m.at(`blocks.${index}`), x, config, attentionInputs(inputs, kind, config));
  }
  const merger = m.at('merger');
  const merged = width * merge ** 2;
  const joined = rmsNorm(merger.at('ln_q'), x, epsilon).reshape([-1, merged]);
  return linear(merger.at('mlp.2'), linear(merger.at('mlp.0'), joined, merged).gelu(), outWidth);
});

const block = layer(
  (m, x: SymbolicTensor, { inner, width, activation }: VisionConfig, attention: PatchAttention): SymbolicTensor => {
    const attended = x.add(patchAttention(m.at('attn'), rmsNorm(m.at('norm1'), x, epsilon), attention));
    const normed = rmsNorm(m.at('norm2'), attended, epsilon);
    const mlp = m.at('mlp');
    const gate = hiddenActivation(linear(mlp.at('gate_proj'), normed, inner), activation);
    return attended.add(linear(mlp.at('down_proj'), gate.mul(linear(mlp.at('up_proj'), normed, inner)), width));
  },
);
