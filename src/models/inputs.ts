/**
 * The inputs of a model's forward: what users may pass, checked against what the model declares, before any graph is built.
 */
import { DejaDitError, suggest } from '../errors/errors.ts';
import type { Backend, DeviceTensor } from '../runtime/backend.ts';
import { uploadAll } from '../runtime/host-tensors.ts';
import { floatTensor, intTensor, Tensor } from '../tensor/tensor.ts';

/** What callers pass: tensors, lists and dicts of them, plain numbers, flags. */
export type InputValue =
  | Tensor
  | number
  | boolean
  | string
  | null
  | undefined
  | readonly InputValue[]
  | { readonly [key: string]: InputValue };
export type ForwardInputs = Readonly<Record<string, InputValue>>;

export interface TensorInput {
  readonly name: string;
  readonly kind: 'float' | 'int' | 'bool';
  /** Sizes; a name stands for any size, but the same name means the same size in all inputs of one call. */
  readonly shape: readonly (number | string)[];
  /** A shape of another rank that is taken as well. */
  readonly orShape?: readonly (number | string)[];
  readonly optional?: boolean;
}

/** An input that is no single tensor (lists, dicts, numbers): the model checks it itself, in `prepare`. */
export interface OtherInput {
  readonly name: string;
  readonly kind: 'other';
  readonly optional?: boolean;
}

export type InputSpec = TensorInput | OtherInput;

/**
 * Checks a call's inputs and brings tensors to the dtypes that graphs take (float32, int64, bool).
 * @returns tensors by input name; inputs of kind 'other' are left to the caller
 * @throws DejaDitError naming the input and the expected shape
 */
export function checkInputs(specs: readonly InputSpec[], inputs: ForwardInputs): Record<string, Tensor> {
  const known = specs.map((spec) => spec.name);
  for (const name of Object.keys(inputs)) {
    // Callers used to Diffusers pass None for what they do not use.
    const absent = inputs[name] === undefined || inputs[name] === null;
    if (!known.includes(name) && name !== 'return_dict' && !absent) {
      throw new DejaDitError('INVALID_ARGUMENT', `unknown input; ${suggest(name, known)}`, { path: name });
    }
  }
  const sizes = new Map<string, number>();
  const tensors: Record<string, Tensor> = {};
  for (const spec of specs) {
    const value = inputs[spec.name];
    if (value === undefined || value === null) {
      if (spec.optional) continue;
      const expected = spec.kind === 'other' ? '' : `, expected ${shapesOf(spec, new Map())}`;
      throw new DejaDitError('INVALID_ARGUMENT', `missing input${expected}`, { path: spec.name });
    }
    if (spec.kind === 'other') continue;
    const tensor = toTensor(value, spec);
    checkShape(tensor, spec, sizes);
    tensors[spec.name] = tensor;
  }
  return tensors;
}

function toTensor(value: InputValue, spec: TensorInput): Tensor {
  // A bare number is a tensor of one element, as Diffusers accepts it for timesteps.
  const tensor = typeof value === 'number' ? floatTensor([value]) : value;
  if (!(tensor instanceof Tensor)) {
    throw new DejaDitError(
      'INVALID_ARGUMENT',
      `expected a Tensor, got ${Array.isArray(value) ? 'a list' : typeof value}`,
      { path: spec.name },
    );
  }
  switch (spec.kind) {
    case 'float':
      return tensor.float();
    case 'int':
      return tensor.dtype === 'int64' ? tensor : toIntegers(tensor, spec.name);
    case 'bool':
      if (tensor.dtype === 'bool') return tensor;
      return new Tensor(
        'bool',
        Uint8Array.from(tensor.float().f32, (v) => (v === 0 ? 0 : 1)),
        tensor.shape,
      );
    default:
      return spec.kind satisfies never;
  }
}

/** Any numeric tensor whose values are whole numbers, as int64. */
function toIntegers(tensor: Tensor, name: string): Tensor {
  const values = tensor.dtype.includes('int')
    ? Array.from(tensor.data as Int32Array, Number)
    : Array.from(tensor.float().f32);
  const fraction = values.find((value) => !Number.isInteger(value));
  if (fraction === undefined) return intTensor(values, tensor.shape);
  throw new DejaDitError('INVALID_ARGUMENT', `expected integers, got ${fraction}`, { path: name });
}

function checkShape(tensor: Tensor, spec: TensorInput, sizes: Map<string, number>): void {
  const { shape } = tensor;
  const expected = spec.orShape?.length === shape.length ? spec.orShape : spec.shape;
  const fits =
    shape.length === expected.length &&
    expected.every((dim, i) => {
      if (typeof dim === 'number') return shape[i] === dim;
      const known = sizes.get(dim);
      if (known === undefined) sizes.set(dim, shape[i]!);
      return known === undefined ? shape[i]! > 0 : known === shape[i];
    });
  if (fits) return;
  throw new DejaDitError('SHAPE_MISMATCH', `shape [${shape}], expected ${shapesOf(spec, sizes)}`, { path: spec.name });
}

/** The shapes an input may have, with the sizes that other inputs have fixed. */
function shapesOf({ shape, orShape }: TensorInput, sizes: ReadonlyMap<string, number>): string {
  const bound = (dims: readonly (number | string)[]) =>
    dims.map((dim) => (typeof dim === 'string' && sizes.has(dim) ? `${dim}=${sizes.get(dim)}` : dim));
  return [shape, ...(orShape ? [orShape] : [])].map((dims) => `[${bound(dims).join(', ')}]`).join(' or ');
}

/** A list of float tensors, each checked as an input named `<name>.<index>`; a size's name binds within one tensor only. */
export function checkTensorList(name: string, value: InputValue, shape: TensorInput['shape']): Tensor[] {
  if (!Array.isArray(value) || value.length === 0) {
    throw new DejaDitError('INVALID_ARGUMENT', `expected a list of tensors [${shape.join(', ')}]`, { path: name });
  }
  return value.map((item: InputValue, i) => {
    const spec: TensorInput = { name: `${name}.${i}`, kind: 'float', shape };
    return checkInputs([spec], { [spec.name]: item })[spec.name]!;
  });
}

/** Brings a call's tensors to a backend; integers as it computes with them. They pick rows, so 32 bits hold them. */
export function uploadInputs(
  backend: Pick<Backend, 'upload' | 'capabilities'>,
  tensors: Readonly<Record<string, Tensor>>,
): Record<string, DeviceTensor> {
  if (backend.capabilities.wideIntegers) return uploadAll(backend, tensors);
  const entries = Object.entries(tensors).map(([name, tensor]) => [name, narrowIntegers(tensor)]);
  return uploadAll(backend, Object.fromEntries(entries));
}

function narrowIntegers(tensor: Tensor): Tensor {
  const { dtype, data, shape } = tensor;
  return dtype === 'int64' ? new Tensor('int32', Int32Array.from(data as BigInt64Array, Number), shape) : tensor;
}
