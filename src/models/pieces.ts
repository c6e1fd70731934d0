/**
 * Pieces of a transformer's forward: the prologue, runs of blocks, what stands between lists, the epilogue. Plain objects with a key and an
 * `emit`; `span.ts` fuses consecutive ones into a program, caches add their own.
 */
import type { GraphBuilder } from '../graph/builder.ts';
import type { SymbolicTensor } from '../graph/symbolic.ts';
import type { Module } from '../nn/module.ts';
import type { State, Statics, Transformer } from './definition.ts';

/** What a piece sees while its span is being built. */
export interface SpanContext {
  readonly graph: GraphBuilder;
  /** The model's root module. */
  readonly root: Module;
  /** The state so far; pieces replace entries. */
  state: State;
  readonly statics: Statics;
  /** A tensor that the caller hands to `run` under `extra`. */
  extra(name: string): SymbolicTensor;
  /** An output besides the state, returned by `run` under `outputs`. */
  output(name: string, tensor: SymbolicTensor): void;
  /** Floating-point operations of each block emitted so far, by module path. */
  readonly blockFlops: Map<string, number>;
}

export interface Piece {
  /** Identifies what the piece emits, given the model and the shapes around it. */
  readonly key: string;
  emit(context: SpanContext): void;
}

export function prologue(model: Transformer): Piece {
  return {
    key: 'prologue',
    emit: (context) => {
      context.state = model.prologue(context.root, context.state, context.statics);
      for (const [name, tensor] of Object.entries(context.state)) context.graph.nameValue(tensor, name);
    },
  };
}

export function epilogue(model: Transformer): Piece {
  return {
    key: 'epilogue',
    emit: (context) => {
      context.output('sample', model.epilogue(context.root, context.state, context.statics));
      context.state = {};
    },
  };
}

export interface BlockRange {
  /** Index of the block list. */
  list: number;
  from: number;
  /** Exclusive. */
  to: number;
}

/** Blocks `from` to `to` of a list, and nothing around them. */
export function blocks(model: Transformer, { list, from, to }: BlockRange): Piece {
  const blockList = model.blockLists[list]!;
  return {
    key: `${blockList.name}[${from}:${to}]`,
    emit: (context) => {
      const { root, statics, graph, blockFlops } = context;
      for (let index = from; index < to; index++) {
        const module = root.at(`${blockList.name}.${index}`);
        const flopsBefore = graph.flops;
        const changes = graph.scope(module.path, () => blockList.block(module, context.state, { index, statics }));
        context.state = { ...context.state, ...changes } as State;
        blockFlops.set(module.path, graph.flops - flopsBefore);
      }
    },
  };
}

/** What a list does before its first block (`enter`) or after its last (`leave`); emits nothing where it does nothing. */
export function listEdge(model: Transformer, list: number, edge: 'enter' | 'leave'): Piece {
  const blockList = model.blockLists[list]!;
  return {
    key: `${blockList.name}.${edge}`,
    emit: (context) => {
      const changes = blockList[edge]?.(context.root, context.state, context.statics);
      context.state = { ...context.state, ...changes } as State;
    },
  };
}

/** A whole list with its edges. */
export function wholeList(model: Transformer, list: number): Piece[] {
  const to = model.blockLists[list]!.count;
  return [listEdge(model, list, 'enter'), blocks(model, { list, from: 0, to }), listEdge(model, list, 'leave')];
}
