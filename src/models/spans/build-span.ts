/**
 * The graph of a span, for one request or for several that are computed as one: each brings rows of its own, which the graph joins where it
 * begins and parts where it ends, so that nobody outside has to know who was computed with whom.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { GraphBuilder } from '../../graph/builder.ts';
import type { Graph, ValueSpec } from '../../graph/graph.ts';
import { concat } from '../../graph/ops.ts';
import type { SymbolicTensor } from '../../graph/symbolic.ts';
import { Module } from '../../nn/module.ts';
import type { BackendCapabilities } from '../../runtime/backend.ts';
import type { Shape } from '../../tensor/tensor.ts';
import type { Weights } from '../../weights/weight-store.ts';
import type { State } from '../definition.ts';
import type { SpanContext } from '../pieces.ts';
import type { SpanRun } from './span.ts';

export interface BuiltSpan {
  graph: Graph;
  /** State entries at the end that the span did not touch. */
  passed: readonly string[];
  changed: readonly string[];
  outputs: readonly string[];
  /** State entries at the beginning that every request brings. */
  rowInputs: ReadonlySet<string>;
  /** State entries at the end with a row for every sample, if it is known of those at the beginning. */
  rows: ReadonlySet<string> | undefined;
  /** Of several requests: changed entries that are the same for all. */
  common: ReadonlySet<string>;
  /** Floating-point operations of each block for one request, by module path. */
  blockFlops: ReadonlyMap<string, number>;
}

export interface BuildOptions {
  /** Requests. */
  shares: number;
  weights: Weights;
  capabilities: BackendCapabilities;
}

/** What a tensor of one of several requests is called in their common graph. */
export const shareName = (name: string, share: number, shares: number): string =>
  shares === 1 ? name : `${name}#${share}`;

/** @throws DejaDitError SHAPE_MISMATCH naming the module; UNSUPPORTED if requests cannot be computed as one */
export function buildSpan(run: SpanRun, options: BuildOptions): BuiltSpan {
  const { shares } = options;
  const emitted = emit(run, options);
  const { builder, context, entry, outputs } = emitted;
  const names = Object.keys(context.state);
  const passed = names.filter((name) => entry[name] === context.state[name]);
  const changed = names.filter((name) => entry[name] !== context.state[name]);
  const rows = run.rows && rowsAfter(run, emitted, options);
  const common = new Set(shares === 1 ? [] : changed.filter((name) => !rows!.has(name)));
  const part = (name: string, tensor: SymbolicTensor) => {
    const parts = shares === 1 ? [tensor] : tensor.split(0, shares);
    for (const [share, of] of parts.entries()) builder.output(shareName(name, share, shares), of);
  };
  for (const [name, tensor] of outputs) part(`output.${name}`, tensor);
  for (const name of changed) {
    if (common.has(name)) builder.output(`state.${name}`, context.state[name]!);
    else part(`state.${name}`, context.state[name]!);
  }
  return {
    graph: builder.finish(),
    passed,
    changed,
    outputs: [...outputs.keys()],
    rowInputs: new Set(shares === 1 ? [] : run.rows),
    rows,
    common,
    blockFlops: new Map([...context.blockFlops].map(([block, flops]) => [block, flops / shares])),
  };
}

type Emitted = ReturnType<typeof emit>;

function emit({ pieces, state, extra = {}, statics = {}, rows, loras }: SpanRun, options: BuildOptions) {
  const { shares, weights, capabilities } = options;
  const builder = new GraphBuilder(shares);
  const declare = (name: string, { dtype, shape }: ValueSpec, hasRows: boolean) => {
    if (!hasRows) return builder.input(name, dtype, shape);
    const parts = Array.from({ length: shares }, (_, share) =>
      builder.input(shareName(name, share, shares), dtype, shape),
    );
    return concat(parts, 0);
  };
  const entry: State = {};
  for (const [name, spec] of Object.entries(state))
    entry[name] = declare(`state.${name}`, spec, rows?.has(name) ?? false);
  const lent: State = {};
  for (const [name, spec] of Object.entries(extra)) lent[name] = declare(`extra.${name}`, spec, shares > 1);
  const catalog = {
    origin: weights.origin,
    has: (name: string) => weights.has(name),
    info: (name: string, expected?: Shape) => weights.info(name, expected),
    observer: weights.observer,
    loras,
    lowBitProduct: capabilities.lowBitProduct,
  };
  const outputs = new Map<string, SymbolicTensor>();
  const context: SpanContext = {
    graph: builder,
    root: new Module(builder, catalog),
    state: { ...entry },
    statics,
    extra: (name) => lent[name] ?? builder.fail(`the span was not given the tensor '${name}'`),
    output: (name, tensor) => void outputs.set(name, tensor),
    blockFlops: new Map(),
  };
  for (const piece of pieces) piece.emit(context);
  return { builder, context, entry, outputs };
}

/** What grows with the requests has a row for each of them. */
function rowsAfter(run: SpanRun, emitted: Emitted, options: BuildOptions): ReadonlySet<string> | undefined {
  const { shares } = options;
  const ending = Object.keys(emitted.context.state).length === 0;
  if (shares === 1) {
    if (ending) return new Set();
    try {
      return rowsBetween(emitted, emit(run, { ...options, shares: 2 }), 2);
    } catch {
      // Something in it is for one request alone, and so is what follows.
      return undefined;
    }
  }
  return rowsBetween(emit(run, { ...options, shares: 1 }), emitted, shares);
}

/** @throws DejaDitError UNSUPPORTED */
function rowsBetween(one: Emitted, several: Emitted, shares: number): ReadonlySet<string> {
  const rows = new Set<string>();
  for (const [name, tensor] of Object.entries(one.context.state)) {
    const grown = growth(tensor, several.context.state[name]!);
    if (grown === shares) rows.add(name);
    else if (grown !== 1) refuse(name);
  }
  for (const [name, tensor] of one.outputs) if (growth(tensor, several.outputs.get(name)!) !== shares) refuse(name);
  return rows;
}

function refuse(name: string): never {
  throw new DejaDitError('UNSUPPORTED', 'has no rows of its own for each request', { path: name });
}

/** How many times as many rows; undefined if the rows differ. */
function growth(one: SymbolicTensor, several: SymbolicTensor): number | undefined {
  const [[rows, ...row], [more, ...other]] = [one.shape, several.shape];
  if (String(row) !== String(other)) return undefined;
  return rows === more ? 1 : more! / rows!;
}
