/** What Kandinsky 5 and 6 are made of. */
import { DejaDitError } from '../../../errors/errors.ts';
import type { SymbolicTensor } from '../../../graph/symbolic.ts';
import { attend, projectQkv, type QkNorm } from '../../../nn/attention/attention.ts';
import type { KeyMask } from '../../../nn/attention/attention-mask.ts';
import { linear } from '../../../nn/linear.ts';
import { layer } from '../../../nn/module.ts';
import { layerNorm } from '../../../nn/norms.ts';
import { applyRotary, type Rotary } from '../../../nn/rotary.ts';
import { Tensor } from '../../../tensor/tensor.ts';
import type { ConfigReader } from '../../config-reader.ts';
import type { InputValue } from '../../inputs.ts';

/** Of norms whose epsilon PyTorch chooses. */
const FLOAT_EPSILON = 2 ** -23;
const qkNorm: QkNorm = { kind: 'rms_norm', epsilon: FLOAT_EPSILON };
const names = { query: 'to_query', key: 'to_key', value: 'to_value', queryNorm: 'query_norm', keyNorm: 'key_norm' };

/** A projection and its LayerNorm. */
export const textEmbedding = layer((m, text: SymbolicTensor, width: number): SymbolicTensor => {
  return layerNorm(m.at('norm'), linear(m.at('in_layer'), text, width), 1e-5);
});

export interface KandinskyAttention {
  heads: number;
  /** Default: x itself. */
  context?: SymbolicTensor;
  rotary?: Rotary | undefined;
  /** Turns the keys. Default: what turns the queries. */
  contextRotary?: Rotary | undefined;
  mask?: KeyMask<SymbolicTensor> | undefined;
  /** Whether turned queries and keys are rounded to bfloat16. */
  rounds?: boolean;
}

export const kandinskyAttention = layer((m, x: SymbolicTensor, options: KandinskyAttention): SymbolicTensor => {
  const { heads, context = x, rotary, contextRotary = rotary, mask, rounds = false } = options;
  const { query, key, value } = projectQkv(m, x, { heads, qkNorm, context, names });
  const turned = (y: SymbolicTensor, by: Rotary | undefined) => {
    if (!by) return y;
    const out = applyRotary(y, by, heads);
    return rounds ? out.cast('bfloat16').cast('float32') : out;
  };
  const attended = attend({ query: turned(query, rotary), key: turned(key, contextRotary), value, heads, mask });
  return linear(m.at('out_layer'), attended, x.dim(-1));
});

/** Heads of a stream whose every head turns with all axes. */
export function headsOf(
  { origin }: ConfigReader,
  { width, axesDim, name = 'model_dim' }: { width: number; axesDim: readonly number[]; name?: string },
): number {
  const headDim = axesDim.reduce((sum, dim) => sum + dim);
  if (width % headDim === 0) return width / headDim;
  const message = `'${name}' is ${width}, expected a multiple of the head's ${headDim} ('axes_dims')`;
  throw new DejaDitError('INVALID_CONFIG', message, { path: origin });
}

/** For each axis of the grid its positions. */
export function axisPositions(value: InputValue, grid: readonly number[]): number[][] {
  const axes = Array.isArray(value) ? (value as readonly InputValue[]) : [];
  const fits = axes.length === grid.length && axes.every((axis, i) => axis instanceof Tensor && axis.size === grid[i]);
  if (fits) return (axes as Tensor[]).map((axis) => Array.from(axis.data as Int32Array, Number));
  throw new DejaDitError('INVALID_ARGUMENT', `expected three tensors of ${grid.join(', ')} positions`, {
    path: 'visual_rope_pos',
  });
}
