/** How strongly a ControlNet acts: a number of each call, by which all of its samples are multiplied. */
import { DejaDitError } from '../../errors/errors.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import type { ForwardInputs } from '../inputs.ts';

/** `conditioning_scale` of a call, 1 unless given. */
export function readScale({ conditioning_scale: scale = 1 }: ForwardInputs): Tensor {
  if (typeof scale === 'number') return floatTensor([scale]);
  throw new DejaDitError('INVALID_ARGUMENT', 'expected a number', { path: 'conditioning_scale' });
}

/** Lists of samples as outputs: `<list>.<i>`. */
export function scaled(
  lists: Readonly<Record<string, readonly SymbolicTensor[]>>,
  scale: SymbolicTensor,
): Record<string, SymbolicTensor> {
  return Object.fromEntries(
    Object.entries(lists).flatMap(([list, samples]) =>
      samples.map((sample, i) => [`${list}.${i}`, sample.mul(scale)] as const),
    ),
  );
}
