/**
 * The smallest inputs a model can be called with. A model is emitted for them once when it is loaded, which shows what weights it
 * reads, and whether its config fits them, before anything of size is read or computed.
 */
import { DejaDitError } from '../errors/errors.ts';
import { allocate } from '../tensor/dtype.ts';
import { sizeOf, Tensor } from '../tensor/tensor.ts';
import { checkInputs, type ForwardInputs, type InputSpec } from './inputs.ts';

/** One call, as small as can be. */
export interface SmallestCall {
  /** Sizes by the names that `inputs` gives them; default 1. */
  sizes?: Readonly<Record<string, number>>;
  /** Inputs that must not be ones throughout, and those that are no tensors. */
  inputs?: ForwardInputs;
}

/** Values that one input may have: a token or a patch of the widest model has far fewer. */
const maxValues = 2 ** 24;

/**
 * The call's inputs and the checked tensors among them: all that the model takes, optional ones included, and ones throughout.
 * @throws DejaDitError INVALID_CONFIG if the model's sizes are beyond any model
 */
export function smallestInputs(specs: readonly InputSpec[], call: SmallestCall, origin: string) {
  const inputs: Record<string, ForwardInputs[string]> = {};
  for (const spec of specs) {
    if (spec.kind === 'other') continue;
    const shape = spec.shape.map((dim) => (typeof dim === 'number' ? dim : (call.sizes?.[dim] ?? 1)));
    inputs[spec.name] = ones(spec.kind, shape, { name: spec.name, origin });
  }
  Object.assign(inputs, call.inputs);
  return { inputs, tensors: checkInputs(specs, inputs) };
}

/** A tensor of ones. */
export function ones(
  kind: 'float' | 'int' | 'bool',
  shape: readonly number[],
  { name, origin }: { name: string; origin: string },
): Tensor {
  const size = sizeOf(shape);
  if (!(size <= maxValues)) {
    throw new DejaDitError('INVALID_CONFIG', `its sizes cannot be right: the least '${name}' would be [${shape}]`, {
      path: origin,
    });
  }
  const dtype = { float: 'float32', int: 'int64', bool: 'bool' } as const;
  const data = allocate(dtype[kind], size);
  if (data instanceof BigInt64Array) data.fill(1n);
  else data.fill(1);
  return new Tensor(dtype[kind], data, shape);
}
