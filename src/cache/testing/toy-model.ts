/**
 * Test support: transformers small enough to predict by hand, as a user would define one. Every block adds `gain` times its
 * weight to the hidden states, and what its forward pattern asks for to the encoder stream.
 */

import { concat } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { ConfigReader } from '../../models/config-reader.ts';
import { defineTransformer, type ForwardPattern, type TransformerFamily } from '../../models/definition.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import { TransformerModel } from '../../models/transformer-model.ts';
import { createBackend } from '../../runtime/create-backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { memoryWeights } from '../../weights/weight-source.ts';
import { WeightStore } from '../../weights/weight-store.ts';

type ToyState = {
  hidden_states: SymbolicTensor;
  /** Patterns 4 and 5 have none before the first block. */
  encoder_hidden_states?: SymbolicTensor;
  gain: SymbolicTensor;
};

interface ToyConfig {
  blocks: number;
}

/**
 * Patterns 0 and 1: E grows ten times as fast as H. 2: E goes in only. 4 and 5: E is the new H. The sample is H, then E where
 * there is one, along the tokens.
 */
export function toyFamily(pattern: ForwardPattern): TransformerFamily {
  const readsEncoder = pattern <= 2;
  const returnsEncoder = pattern !== 2 && pattern !== 3;
  return defineTransformer<ToyConfig, ToyState>({
    className: `ToyPattern${pattern}Transformer`,
    separateCfg: false,
    parseConfig: (config) => ({ blocks: config.integer('num_layers', 4) }),
    inputs: () => [
      { name: 'hidden_states', kind: 'float', shape: ['batch', 'tokens', 'width'] },
      ...(readsEncoder
        ? [{ name: 'encoder_hidden_states', kind: 'float' as const, shape: ['batch', 'text_tokens', 'width'] }]
        : []),
      { name: 'gain', kind: 'float', shape: ['batch'] },
    ],
    prologue: (_, inputs) => ({
      hidden_states: inputs.hidden_states!,
      ...(readsEncoder ? { encoder_hidden_states: inputs.encoder_hidden_states! } : {}),
      gain: inputs.gain!.reshape([-1, 1, 1]),
    }),
    blockLists: ({ blocks }) => [
      {
        name: 'blocks',
        pattern,
        count: blocks,
        block: (m, { hidden_states, encoder_hidden_states, gain }) => {
          const added = gain.mul(m.weight('scale', [1]));
          const hidden = hidden_states.add(added);
          if (!returnsEncoder) return { hidden_states: hidden };
          const encoder = readsEncoder ? encoder_hidden_states!.add(added.mul(10)) : hidden;
          return { hidden_states: hidden, encoder_hidden_states: encoder };
        },
      },
    ],
    epilogue: (_, { hidden_states, encoder_hidden_states }) =>
      concat(encoder_hidden_states ? [hidden_states, encoder_hidden_states] : [hidden_states], 1),
  });
}

/** A toy with in-memory weights. `scales`: what each block adds at gain 1; default 1 each. */
export async function toyModel(
  pattern: ForwardPattern,
  { blocks = 4, scales = Array<number>(blocks).fill(1) }: { blocks?: number; scales?: readonly number[] } = {},
): Promise<TransformerModel> {
  const definition = toyFamily(pattern).configure(new ConfigReader({ num_layers: scales.length }, 'toy'));
  const weights = Object.fromEntries(scales.map((scale, i) => [`blocks.${i}.scale`, floatTensor([scale])]));
  const backend = await createBackend({ backend: 'cpu', threads: 1 });
  const store = await WeightStore.load(memoryWeights(weights), { backend, origin: 'toy' });
  return new TransformerModel(definition, store, new ProgramCache(backend));
}

export interface ToyCall {
  gain: number;
  /** What H and E begin with. */
  hidden?: number[];
  encoder?: number[];
}

export function toyInputs(
  { definition }: TransformerModel,
  { gain, hidden = [1], encoder = [5] }: ToyCall,
): ForwardInputs {
  const readsEncoder = definition.inputs.some(({ name }) => name === 'encoder_hidden_states');
  return {
    hidden_states: floatTensor(hidden, [1, hidden.length, 1]),
    ...(readsEncoder ? { encoder_hidden_states: floatTensor(encoder, [1, encoder.length, 1]) } : {}),
    gain: floatTensor([gain]),
  };
}

/** One bare call. @returns the values of H and, after them, of E */
export async function callToy(
  model: TransformerModel,
  { branch, ...call }: ToyCall & { branch?: string },
): Promise<number[]> {
  const { sample } = await model.forward(toyInputs(model, call), branch === undefined ? {} : { branch });
  return Array.from((sample as Tensor).f32);
}
