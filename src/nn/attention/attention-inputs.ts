/**
 * Rotary tables and key masks on their way from the host to every block: under which names they are graph inputs and entries of
 * a model's state.
 */
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Rotary, RotaryTables } from '../rotary.ts';
import type { KeyMask } from './attention-mask.ts';

type MaskInputsOf<T> = { mask_keys?: T; mask_bias?: T; mask_queries?: T };
type AttentionInputsOf<T> = MaskInputsOf<T> & { rotary_cos: T; rotary_sin: T };

/** Part of the state of models whose attention is rotary and, in some calls, masked. */
export type AttentionInputs = AttentionInputsOf<SymbolicTensor>;

/** The graph inputs, from `prepare`. */
export function attentionTensors({ cos, sin }: RotaryTables, mask: KeyMask<Tensor> = {}): AttentionInputsOf<Tensor> {
  return { rotary_cos: cos, rotary_sin: sin, ...named(mask) };
}

/** The state entries, in a prologue. */
export function attentionInputs(inputs: Readonly<Record<string, SymbolicTensor>>): AttentionInputs {
  const mask = { keys: inputs.mask_keys, bias: inputs.mask_bias, queries: inputs.mask_queries };
  return { rotary_cos: inputs.rotary_cos!, rotary_sin: inputs.rotary_sin!, ...named(mask) };
}

/** The options of an attention layer, in a block. */
export function attentionOptions(state: AttentionInputs): { rotary: Rotary; mask: KeyMask<SymbolicTensor> } {
  return {
    rotary: { cos: state.rotary_cos, sin: state.rotary_sin },
    mask: { keys: state.mask_keys, bias: state.mask_bias, queries: state.mask_queries },
  };
}

/** Absent parts are no entries: an entry is a tensor. */
function named<T>({ keys, bias, queries }: KeyMask<T>): MaskInputsOf<T> {
  return {
    ...(keys ? { mask_keys: keys } : {}),
    ...(bias ? { mask_bias: bias } : {}),
    ...(queries ? { mask_queries: queries } : {}),
  };
}
