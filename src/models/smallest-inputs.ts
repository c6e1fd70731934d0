/**
 * The smallest inputs a model can be called with. A model is emitted for them once when it is loaded, which shows what weights it
 * reads, and whether its config fits them, before anything of size is read or computed.
 */
import { DejaDitError } from '../errors/errors.ts';
import { allocate } from '../tensor/dtype.ts';
import { type Shape, sizeOf, Tensor } from '../tensor/tensor.ts';
import { checkInputs, type ForwardInputs, type InputSpec, type TensorInput } from './inputs.ts';

/** One call, as small as can be. */
export interface SmallestCall {
  /** Sizes by the names that `inputs` gives them; default 1. */
  sizes?: Readonly<Record<string, number>>;
  /** Inputs that must not be ones throughout, and those that are no tensors. */
  inputs?: ForwardInputs;
}

/** Values that one input may have: a token or a patch of the widest model has far fewer. */
const maxValues = 2 ** 24;

export type MakeOnes = (shape: Shape, kind?: TensorInput['kind']) => Tensor;

/**
 * Makes tensors of ones.
 * @param origin the model's folder, for the error INVALID_CONFIG about a tensor that no model could have
 */
export function onesFor(origin: string): MakeOnes {
  return (shape, kind) => {
    if (!(sizeOf(shape) <= maxValues)) {
      throw new DejaDitError('INVALID_CONFIG', `its sizes cannot be right: its least input would be [${shape}]`, {
        path: origin,
      });
    }
    return onesOf(shape, kind);
  };
}

export const onesOf: MakeOnes = (shape, kind = 'float') => {
  const dtype = ({ float: 'float32', int: 'int64', bool: 'bool' } as const)[kind];
  const data = allocate(dtype, sizeOf(shape));
  if (data instanceof BigInt64Array) data.fill(1n);
  else data.fill(1);
  return new Tensor(dtype, data, shape);
};

/** The call's inputs and the checked tensors among them: all that the model takes, optional ones included, ones by default. */
export function smallestInputs(specs: readonly InputSpec[], call: SmallestCall, ones: MakeOnes) {
  const inputs: Record<string, ForwardInputs[string]> = {};
  for (const spec of specs) {
    if (spec.kind === 'other') continue;
    const shape = spec.shape.map((dim) => (typeof dim === 'number' ? dim : (call.sizes?.[dim] ?? 1)));
    inputs[spec.name] = ones(shape, spec.kind);
  }
  Object.assign(inputs, call.inputs);
  return { inputs, tensors: checkInputs(specs, inputs) };
}
