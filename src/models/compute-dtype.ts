/**
 * The type that a model computes in. What of a family stays float32 is in its definition; how a graph is brought to float16 is
 * `graph/float16.ts`.
 */
import { DejaDitError } from '../errors/errors.ts';
import { toFloat16 } from '../graph/float16.ts';
import type { Graph } from '../graph/graph.ts';
import type { Backend } from '../runtime/backend.ts';

export const computeDtypes = ['float32', 'float16'] as const;
export type ComputeDtype = (typeof computeDtypes)[number];

/**
 * The type to compute in. Default: float16 where the backend has it.
 * @throws DejaDitError UNSUPPORTED for float16 on a backend without it
 */
export function computeDtypeOn(backend: Backend, wanted: ComputeDtype | undefined): ComputeDtype {
  const { float16 } = backend.capabilities;
  if (wanted === 'float16' && !float16)
    throw new DejaDitError('UNSUPPORTED', `the backend '${backend.name}' does not compute in float16; leave it out`, {
      path: 'computeDtype',
    });
  return wanted ?? (float16 ? 'float16' : 'float32');
}

/**
 * Whether a module is among those that patterns name: `norm_out` is that module alone, `time_embed.**` that and all below it, `*` any
 * single name in a path. The root, where inputs come in and results go out, always is.
 */
export function modulesIn(patterns: readonly string[]): (path: string) => boolean {
  const expressions = patterns.map((pattern) => {
    const names = pattern.split('.').map((name) => (name === '*' ? '[^.]+' : name));
    const withAllBelow = names.at(-1) === '**';
    const source = (withAllBelow ? names.slice(0, -1) : names).join('\\.');
    return new RegExp(`^${source}${withAllBelow ? '(\\..*)?' : ''}$`);
  });
  const known = new Map<string, boolean>([['', true]]);
  return (path) => {
    let found = known.get(path);
    if (found === undefined) {
      found = expressions.some((expression) => expression.test(path));
      known.set(path, found);
    }
    return found;
  };
}

/** How the graphs of a model are changed before they are compiled; undefined: not at all. */
export function graphsIn(
  dtype: ComputeDtype,
  isFloat32: (path: string) => boolean,
): ((graph: Graph) => Graph) | undefined {
  return dtype === 'float32' ? undefined : (graph) => toFloat16(graph, ({ path }) => isFloat32(path));
}
