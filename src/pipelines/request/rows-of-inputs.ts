/** Which inputs of a model's call have a row for every sample: those that grow when there are twice as many samples. */
import type { Prepared } from '../../models/definition.ts';
import type { ForwardInputs, InputValue } from '../../models/inputs.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { arrayClass } from '../../tensor/dtype.ts';
import { sizeOf, Tensor } from '../../tensor/tensor.ts';
import { isDictionary } from './conditions.ts';

/** Elements of the hidden states of one run: those of a picture of 1024 x 1024. Larger runs use a processor no better, and memory. */
const mostElements = 2 ** 18;
const mostCalls = 16;

export interface RowsOfInputs {
  /** The same object for inputs of the same shapes. */
  rows: ReadonlySet<string>;
  /** Calls that one run may be of. */
  most: number;
}

const known = new WeakMap<TransformerModel, Map<string, RowsOfInputs | undefined>>();

/** @returns undefined for inputs that cannot be told apart so: their call is made by itself */
export function rowsOfInputs(
  model: TransformerModel,
  inputs: ForwardInputs,
  prepared: Prepared,
): RowsOfInputs | undefined {
  const ofModel = known.get(model) ?? new Map<string, RowsOfInputs | undefined>();
  known.set(model, ofModel);
  const specs = Object.entries(prepared.tensors).map(([name, { dtype, shape }]) => `${name}:${dtype}[${shape}]`);
  const key = `${specs}|${JSON.stringify(prepared.statics ?? {})}`;
  if (!ofModel.has(key)) ofModel.set(key, find(model, inputs, prepared));
  return ofModel.get(key);
}

function find(model: TransformerModel, inputs: ForwardInputs, prepared: Prepared): RowsOfInputs | undefined {
  const { hidden_states: hidden } = prepared.tensors;
  if (!hidden) return undefined;
  for (const others of othersTwice) {
    const rows = grownRows(model, prepared, doubled(model, inputs, others));
    if (rows?.has('hidden_states'))
      return { rows, most: Math.min(mostCalls, Math.max(1, Math.floor(mostElements / sizeOf(hidden.shape)))) };
  }
  return undefined;
}

/** What has twice the rows, each half as it was; undefined if anything else has changed, as numbers that say where in a batch a sample is. */
function grownRows(model: TransformerModel, { tensors, statics }: Prepared, inputs: ForwardInputs) {
  let twice: Prepared;
  try {
    twice = model.hostInputs(inputs);
  } catch {
    return undefined;
  }
  if (JSON.stringify(statics) !== JSON.stringify(twice.statics)) return undefined;
  const rows = new Set<string>();
  for (const [name, tensor] of Object.entries(tensors)) {
    const other = twice.tensors[name];
    if (other && sameTensor(other, twiceTheRows(tensor))) rows.add(name);
    else if (!other || !sameTensor(other, tensor)) return undefined;
  }
  return rows;
}

function twiceTheRows({ dtype, data, shape: [rows = 1, ...row] }: Tensor): Tensor {
  const twice = new (arrayClass(dtype))(2 * data.length);
  for (const at of [0, data.length]) twice.set(data as Float32Array & BigInt64Array, at);
  return new Tensor(dtype, twice, [2 * rows, ...row]);
}

export function sameTensor(a: Tensor, b: Tensor): boolean {
  if (a === b) return true;
  const bytes = ({ data }: Tensor) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return a.dtype === b.dtype && String(a.shape) === String(b.shape) && Buffer.compare(bytes(a), bytes(b)) === 0;
}

/** Lists may have an item for each sample, or be what all share, such as a table of positions. */
const othersTwice: readonly ((value: InputValue) => InputValue)[] = [
  (value) => (Array.isArray(value) ? [...value, ...value] : value),
  (value) => value,
];

/** Inputs of twice the samples: tensors that begin with the axis of the samples, also in dictionaries, and others as is said. */
function doubled(
  { definition: { inputs: specs } }: TransformerModel,
  inputs: ForwardInputs,
  others: (value: InputValue) => InputValue,
): ForwardInputs {
  const tensors = specs.filter((spec) => spec.kind !== 'other');
  const batch = tensors.find(({ name }) => name === 'hidden_states' || name === 'sample')?.shape[0];
  const shared = new Set(tensors.flatMap(({ name, shape }) => (shape[0] === batch ? [] : [name])));
  const twice = (name: string, value: InputValue): InputValue => {
    if (value instanceof Tensor) return shared.has(name) ? value : twiceTheRows(value);
    if (!isDictionary(value)) return others(value);
    return Object.fromEntries(Object.entries(value).map(([key, of]) => [key, twice(key, of)]));
  };
  return Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, twice(name, value)]));
}
