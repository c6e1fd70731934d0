/**
 * Spans: consecutive pieces of a transformer's forward fused into one program. A plain forward is one span; caching cuts it
 * where a decision falls and adds pieces of its own. This file knows pieces and programs, not which pieces make sense.
 */
import { DejaDitError, throwIfAborted } from '../errors/errors.ts';
import { GraphBuilder } from '../graph/builder.ts';
import type { Graph, ValueSpec } from '../graph/graph.ts';
import { Module } from '../nn/module.ts';
import type { BackendCapabilities, DeviceTensor } from '../runtime/backend.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';
import { disposeTensors } from '../runtime/tensor-table.ts';
import type { Shape } from '../tensor/tensor.ts';
import type { LoraSelection } from '../weights/lora/lora-weights.ts';
import type { Weights } from '../weights/weight-store.ts';
import { bucketedProgram, type SpanProgram } from './bucketed-program.ts';
import type { State, Statics } from './definition.ts';
import type { Piece, SpanContext } from './pieces.ts';

export type DeviceState = Readonly<Record<string, DeviceTensor>>;

export interface SpanRun {
  pieces: readonly Piece[];
  /** State at the span's beginning; before the prologue, the model's inputs. The run takes it over, whether it succeeds or not. */
  state: DeviceState;
  statics?: Statics;
  /** Further tensors the pieces ask for; they stay the caller's. */
  extra?: DeviceState;
  /** Default: all that are loaded. */
  loras?: LoraSelection | undefined;
  /** Looked at wherever the span is cut. */
  signal?: AbortSignal | undefined;
}

/** All tensors are the caller's. */
export interface SpanResult {
  /** State at the span's end: what it changed, and what it passed through. */
  state: DeviceState;
  outputs: Readonly<Record<string, DeviceTensor>>;
  /** Floating-point operations of each block that was run, by module path. */
  blockFlops: ReadonlyMap<string, number>;
}

type SpanInputs = Required<Omit<SpanRun, 'signal' | 'loras'>> & Pick<SpanRun, 'loras'>;

interface CompiledSpan {
  program: SpanProgram;
  /** By slot; a program of offloaded weights gets its own. */
  weights: DeviceState;
  /** Names of all other tensors that the program takes. */
  inputs: ReadonlySet<string>;
  /** State entries at the end that the span did not touch. */
  passed: readonly string[];
  changed: readonly string[];
  blockFlops: ReadonlyMap<string, number>;
}

/** A span that is remembered, with its program for as long as that may be kept. */
interface Entry {
  compiled: Promise<CompiledSpan>;
  runs: number;
  dropped: boolean;
}

export interface SpanStats {
  /** Spans held, at most `capacity`; each goes with its program. */
  size: number;
  capacity: number;
  built: number;
  evicted: number;
}

export interface SpanRunnerOptions {
  /** Whose spans they are, for error messages. */
  owner: string;
  /** Changes the graph of every span before it is compiled. */
  rewrite?: ((graph: Graph) => Graph) | undefined;
}

/** Builds, remembers and runs the spans of one model. */
export class SpanRunner {
  /** Least recently used first. */
  private readonly spans = new Map<string, Entry>();
  private readonly runs = new Set<Promise<unknown>>();
  private built = 0;
  private evicted = 0;
  private disposed = false;

  constructor(
    private readonly weights: Weights,
    readonly programs: ProgramCache,
    private readonly options: SpanRunnerOptions,
    private readonly capacity = 512,
  ) {}

  /** @throws DejaDitError DISPOSED if the model was disposed, ABORTED if the signal has fired */
  async run(run: SpanRun): Promise<SpanResult> {
    const result = this.compute(run);
    this.runs.add(result);
    try {
      return await result;
    } catch (error) {
      disposeTensors(run.state);
      throw error;
    } finally {
      this.runs.delete(result);
    }
  }

  /** Forgets compiled spans, after the weights' formats or names have changed. */
  reset(): void {
    for (const [key, entry] of [...this.spans]) this.drop(key, entry);
  }

  /** Gives its programs back, once the runs under way have ended; no other run begins. */
  async dispose(): Promise<void> {
    this.disposed = true;
    await Promise.allSettled(this.runs);
    this.reset();
  }

  get stats(): SpanStats {
    const { capacity, built, evicted } = this;
    return { size: this.spans.size, capacity, built, evicted };
  }

  private async compute(run: SpanRun): Promise<SpanResult> {
    const { pieces, state, statics = {}, extra = {}, loras = this.weights.lora?.loaded, signal } = run;
    const check = () => {
      throwIfAborted(signal);
      if (this.disposed) throw new DejaDitError('DISPOSED', `this ${this.options.owner} was disposed`);
    };
    check();
    const entry = this.entry({ pieces, state, statics, extra, loras });
    entry.runs++;
    try {
      const span = await entry.compiled;
      check();
      const inputs: Record<string, DeviceTensor> = { ...span.weights };
      for (const [name, tensor] of Object.entries(state)) inputs[`state.${name}`] = tensor;
      for (const [name, tensor] of Object.entries(extra)) inputs[`extra.${name}`] = tensor;
      for (const [name, strength] of loras?.inputs ?? []) if (span.inputs.has(name)) inputs[name] = strength;
      return this.result(span, state, await span.program.run(inputs, check));
    } finally {
      entry.runs--;
      if (entry.dropped) release(entry);
    }
  }

  /** Sorts the results of a run, and disposes the state that it has replaced. */
  private result(span: CompiledSpan, state: DeviceState, results: DeviceState): SpanResult {
    const next: Record<string, DeviceTensor> = {};
    for (const name of span.passed) next[name] = state[name]!;
    for (const name of span.changed) next[name] = results[`state.${name}`]!;
    for (const [name, tensor] of Object.entries(state)) if (next[name] !== tensor) tensor.dispose();
    const outputs: Record<string, DeviceTensor> = {};
    for (const [name, tensor] of Object.entries(results)) {
      if (name.startsWith('output.')) outputs[name.slice('output.'.length)] = tensor;
      else if (name.startsWith('observed.')) {
        const { observer } = this.weights;
        if (observer) observer(name.slice('observed.'.length), tensor);
        else tensor.dispose();
      }
    }
    return { state: next, outputs, blockFlops: span.blockFlops };
  }

  private entry(run: SpanInputs): Entry {
    const specs = (tensors: DeviceState) =>
      Object.entries(tensors).map(([name, { dtype, shape }]) => `${name}:${dtype}[${shape}]`);
    const key = [
      run.pieces.map((piece) => piece.key),
      specs(run.state),
      specs(run.extra),
      JSON.stringify(run.statics),
      JSON.stringify(run.loras?.names),
    ].join('|');
    let entry = this.spans.get(key);
    if (entry) this.spans.delete(key);
    else entry = this.add(key, run);
    this.spans.set(key, entry);
    for (const [oldest, other] of this.spans) {
      if (this.spans.size <= this.capacity) break;
      this.evict(oldest, other);
    }
    return entry;
  }

  private add(key: string, run: SpanInputs): Entry {
    const onEvict = () => this.evict(key, entry);
    const entry: Entry = { compiled: this.build(run, onEvict), runs: 0, dropped: false };
    entry.compiled.catch(() => this.drop(key, entry));
    this.built++;
    return entry;
  }

  private evict(key: string, entry: Entry): void {
    if (!entry.dropped) this.evicted++;
    this.drop(key, entry);
  }

  private drop(key: string, entry: Entry): void {
    if (this.spans.get(key) === entry) this.spans.delete(key);
    if (entry.dropped) return;
    entry.dropped = true;
    release(entry);
  }

  private async build(run: SpanInputs, onEvict: () => void): Promise<CompiledSpan> {
    const { graph: asEmitted, ...built } = buildSpan(run, this.weights, this.programs.backend.capabilities);
    const graph = this.options.rewrite?.(asEmitted) ?? asEmitted;
    const rest = { ...built, inputs: new Set(graph.inputs.keys()) };
    const { weights, programs } = this;
    if (weights.offloaded) {
      const program = await bucketedProgram(graph, { weights, buckets: weights.offloaded, programs, onEvict });
      return { program, weights: {}, ...rest };
    }
    if (!programs.backend.takesStored) await weights.fetch?.(graph.weights.map(({ name }) => name));
    const bound = Object.fromEntries(graph.weights.map(({ slot, name }) => [slot, weights.get(name)]));
    const program = await programs.program(graph, { onEvict });
    return { program, weights: bound, ...rest };
  }
}

/** Gives a dropped span's program back when its last run has ended. */
function release({ runs, compiled }: Entry): void {
  if (runs > 0) return;
  compiled.then(
    ({ program }) => program.release(),
    () => undefined,
  );
}

type BuiltSpan = { graph: Graph } & Pick<CompiledSpan, 'passed' | 'changed' | 'blockFlops'>;

function buildSpan(run: SpanInputs, weights: Weights, { lowBitProduct }: BackendCapabilities): BuiltSpan {
  const builder = new GraphBuilder();
  const declare = (prefix: string, tensors: Readonly<Record<string, ValueSpec>>): State =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, { dtype, shape }]) => [
        name,
        builder.input(`${prefix}.${name}`, dtype, shape),
      ]),
    );
  const entry = declare('state', run.state);
  const extra = declare('extra', run.extra);
  const catalog = {
    origin: weights.origin,
    has: (name: string) => weights.has(name),
    info: (name: string, expected?: Shape) => weights.info(name, expected),
    observer: weights.observer,
    loras: run.loras,
    lowBitProduct,
  };
  const context: SpanContext = {
    graph: builder,
    root: new Module(builder, catalog),
    state: entry,
    statics: run.statics,
    extra: (name) => extra[name] ?? builder.fail(`the span was not given the tensor '${name}'`),
    output: (name, tensor) => builder.output(`output.${name}`, tensor),
    blockFlops: new Map(),
  };
  for (const piece of run.pieces) piece.emit(context);
  const passed: string[] = [];
  const changed: string[] = [];
  for (const [name, tensor] of Object.entries(context.state)) {
    if (entry[name] === tensor) passed.push(name);
    else {
      changed.push(name);
      builder.output(`state.${name}`, tensor);
    }
  }
  return { graph: builder.finish(), passed, changed, blockFlops: context.blockFlops };
}
