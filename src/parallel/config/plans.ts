/**
 * Plans that users bring along. For context parallelism the plan language of Diffusers' `_cp_plan`: by module path, which of the module's
 * inputs or outputs are split, and on which dimension. Here all that must be known is which tensors run along tokens, and on which
 * axis; where they are split and gathered follows from it. For tensor parallelism that of PyTorch: by module path, `colwise` or `rowwise`.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import type { LayerCut } from '../partition/partition.ts';

/** Entries of the state, and the axis of their tokens. */
export type ContextPlan = Readonly<Record<string, number>>;

export type TensorPlan = readonly (readonly [pattern: RegExp, cut: LayerCut])[];

/** @throws DejaDitError INVALID_CONFIG naming the entry */
export function parseContextPlan(plan: Readonly<Record<string, unknown>>, path: string): ContextPlan {
  const axes: Record<string, number> = {};
  for (const [module, entries] of Object.entries(plan)) {
    const at = `${path}[${quote(module)}]`;
    for (const part of Array.isArray(entries) ? entries : [entries]) {
      if (isGather(part)) continue;
      if (typeof part !== 'object' || part === null)
        throw invalid(at, 'must be an object of inputs with a split_dim each');
      for (const [name, value] of Object.entries(part)) {
        const axis = splitDim(value);
        if (axis === undefined) throw invalid(`${at}.${name}`, 'has no split_dim');
        // Outputs of position embeddings are cut wherever what they are added to or multiplied with is.
        if (!/^\d+$/.test(name)) axes[name] = axis;
      }
    }
  }
  if (Object.keys(axes).length === 0) throw invalid(path, 'splits no input');
  return axes;
}

/** @throws DejaDitError INVALID_CONFIG naming the entry */
export function parseTensorPlan(plan: Readonly<Record<string, string>>, path: string): TensorPlan {
  return Object.entries(plan).map(([module, cut]) => {
    if (!['colwise', 'rowwise', 'replicate'].includes(cut))
      throw invalid(`${path}[${quote(module)}]`, `must be colwise, rowwise or replicate, got ${quote(cut)}`);
    const escaped = module.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
    return [new RegExp(`^(.*\\.)?${escaped.join('[^.]+')}$`), cut as LayerCut] as const;
  });
}

const isGather = (part: unknown): boolean =>
  typeof part === 'object' && part !== null && ('gather_dim' in part || 'gatherDim' in part);

function splitDim(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  const { split_dim, splitDim = split_dim } = (value ?? {}) as { split_dim?: unknown; splitDim?: unknown };
  return typeof splitDim === 'number' && Number.isInteger(splitDim) && splitDim >= 0 ? splitDim : undefined;
}

const invalid = (path: string, reason: string) => new DejaDitError('INVALID_CONFIG', reason, { path });
