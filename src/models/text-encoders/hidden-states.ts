/**
 * What all text encoders share in running their layers: which hidden states a call returns, and that no layer behind the
 * last one needed is computed.
 *
 * Numbering as in Transformers: hidden state 0 is the embeddings, i the output of layer i; negative numbers count from the
 * end. Results are named as they were asked for: `output_hidden_states: [-2]` returns `hidden_states.-2`.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import type { Statics } from '../definition.ts';
import type { ForwardInputs, InputSpec } from '../inputs.ts';

/** Inputs of every text encoder's `forward`. */
export const textInputs: readonly InputSpec[] = [
  { name: 'input_ids', kind: 'int', shape: ['batch', 'tokens'] },
  { name: 'attention_mask', kind: 'int', shape: ['batch', 'tokens'], optional: true },
  { name: 'output_hidden_states', kind: 'other', optional: true },
];

/**
 * Reads `output_hidden_states`. `true` returns all hidden states besides `last_hidden_state`; a list returns these hidden
 * states only, so that the layers after them are not computed.
 * @param layers number of layers; there is one hidden state more
 * @throws DejaDitError if a number is none of the hidden states
 */
export function hiddenStateRequest({ output_hidden_states: asked }: ForwardInputs, layers: number): Statics {
  if (asked === undefined || asked === null || asked === false) return { hidden_states: [], last_hidden_state: true };
  if (asked === true) {
    return { hidden_states: Array.from({ length: layers + 1 }, (_, i) => i), last_hidden_state: true };
  }
  const isState = (i: unknown): i is number => Number.isInteger(i) && Number(i) >= -layers - 1 && Number(i) <= layers;
  if (!Array.isArray(asked) || asked.length === 0 || !asked.every(isState)) {
    throw new DejaDitError(
      'INVALID_ARGUMENT',
      `expected true or a list of numbers from ${-layers - 1} to ${layers}, got ${quote(asked)}`,
      { path: 'output_hidden_states' },
    );
  }
  return { hidden_states: [...new Set(asked)], last_hidden_state: false };
}

export interface LayerStack {
  /** Hidden state 0 [B, S, D]. */
  embeddings: SymbolicTensor;
  layers: number;
  /** Emits layer `index`. */
  layer(x: SymbolicTensor, index: number): SymbolicTensor;
  /** What is passed on of hidden state `index`, where that is not itself; the last one is what comes of it. */
  passedOn?(x: SymbolicTensor, index: number): SymbolicTensor;
  finalNorm(x: SymbolicTensor): SymbolicTensor;
  /** Whether the final norm belongs to the last hidden state (T5, decoders) or only to `last_hidden_state` (CLIP). */
  normIsLastState: boolean;
  /** From `hiddenStateRequest`. */
  statics: Statics;
}

/** Emits the layers that the requested outputs need, and names these outputs. */
export function runLayers(stack: LayerStack): Record<string, SymbolicTensor> {
  const { layers, statics } = stack;
  const asked = statics.hidden_states as readonly number[];
  const position = (index: number) => (index < 0 ? index + layers + 1 : index);
  const depth = statics.last_hidden_state ? layers : Math.max(...asked.map(position));
  const states = [stack.embeddings];
  const passedOn = (index: number) => stack.passedOn?.(states[index]!, index) ?? states[index]!;
  for (let index = 0; index < depth; index++) states.push(stack.layer(passedOn(index), index));
  if (depth === layers) states[layers] = passedOn(layers);

  const outputs: Record<string, SymbolicTensor> = {};
  if (depth === layers && (statics.last_hidden_state || stack.normIsLastState)) {
    const last = stack.finalNorm(states[layers]!);
    if (stack.normIsLastState) states[layers] = last;
    if (statics.last_hidden_state) outputs.last_hidden_state = last;
  }
  for (const index of asked) outputs[`hidden_states.${index}`] = states[position(index)]!;
  return outputs;
}
