/**
 * What a ControlNet adds in a transformer: after every block one of its samples is added to the picture's tokens. It is added by the block
 * itself, so that caches decide and forecast with it. Which model computes the samples is none of the transformer's business.
 */
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { join } from '../../tensor/slices.ts';
import type { Shape, Tensor } from '../../tensor/tensor.ts';
import type { BlockContext, BlockList, State } from '../definition.ts';
import { checkTensorList, type ForwardInputs, type InputSpec } from '../inputs.ts';

/** Inputs that are lists of samples, by their names in Diffusers. */
export function controlSpecs(names: readonly string[]): InputSpec[] {
  return names.map((name) => ({ name, kind: 'other', optional: true }));
}

/**
 * The samples that a call brings, each list as one tensor [samples, B, tokens, width].
 * @param shape of a sample
 */
export function controlTensors(names: readonly string[], inputs: ForwardInputs, shape: Shape): Record<string, Tensor> {
  const given = names.filter((name) => inputs[name] !== undefined && inputs[name] !== null);
  const stacked = (name: string) =>
    join(
      checkTensorList(name, inputs[name], shape).map((sample) => sample.reshape([1, ...shape])),
      0,
    );
  return Object.fromEntries(given.map((name) => [name, stacked(name)]));
}

/** Those that a call brings, to pass from block to block. */
export function controlState(names: readonly string[], inputs: State): Record<string, SymbolicTensor> {
  return Object.fromEntries(names.flatMap((name) => (inputs[name] ? [[name, inputs[name]]] : [])));
}

/** Which of `samples` is added after a block of `count`; undefined: none. */
export type SampleChoice = (
  index: number,
  numbers: { samples: number; count: number; statics: BlockContext['statics'] },
) => number | undefined;

/** Fewer samples than blocks are for as many blocks in a row each. */
export const inRuns: SampleChoice = (index, { samples, count }) => Math.floor(index / Math.ceil(count / samples));

/** Blocks that add the samples of an input. */
export function controlled<S extends { hidden_states: SymbolicTensor }>(
  list: BlockList<S>,
  { name, choice = inRuns }: { name: string; choice?: SampleChoice },
): BlockList<S> {
  return {
    ...list,
    block: (m, state, context) => {
      const changes = list.block(m, state, context);
      const samples = (state as State)[name];
      if (!samples) return changes;
      const { index, statics } = context;
      const sample = choice(index, { samples: samples.dim(0), count: list.count, statics });
      if (sample === undefined) return changes;
      const added = samples.slice(0, sample, sample + 1).squeeze(0);
      return { ...changes, hidden_states: (changes.hidden_states ?? state.hidden_states).add(added) };
    },
  };
}
