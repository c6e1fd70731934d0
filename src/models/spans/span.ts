/**
 * Spans: consecutive pieces of a transformer's forward fused into one program. A plain forward is one span; caching cuts it
 * where a decision falls and adds pieces of its own. This file knows programs, not which pieces make sense; what graph they come to is
 * `build-span.ts`.
 */
import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import type { Graph } from '../../graph/graph.ts';
import type { DeviceTensor } from '../../runtime/backend.ts';
import type { ProgramCache } from '../../runtime/program-cache.ts';
import { disposeTensors } from '../../runtime/tensor-table.ts';
import type { LoraSelection } from '../../weights/lora/lora-weights.ts';
import type { Weights } from '../../weights/weight-store.ts';
import type { Statics } from '../definition.ts';
import type { Piece } from '../pieces.ts';
import { bucketedProgram, type SpanProgram } from './bucketed-program.ts';
import { type BuiltSpan, buildSpan, shareName } from './build-span.ts';

export type DeviceState = Readonly<Record<string, DeviceTensor>>;

export interface SpanRun {
  pieces: readonly Piece[];
  /** State at the span's beginning; before the prologue, the model's inputs. The run takes it over, whether it succeeds or not. */
  state: DeviceState;
  statics?: Statics;
  /**
   * Entries of the state with a row for every sample; the others are the same for all. Default: not known, and what is run has to be run by
   * itself.
   */
  rows?: ReadonlySet<string> | undefined;
  /** Further tensors the pieces ask for, with a row for every sample; they stay the caller's. */
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
  /** As of the run, if it was known there. */
  rows: ReadonlySet<string> | undefined;
  outputs: Readonly<Record<string, DeviceTensor>>;
  /** Floating-point operations of each block that was run, by module path. */
  blockFlops: ReadonlyMap<string, number>;
}

/** Runs spans: a `SpanRunner`, or what makes one run of those of several requests. */
export interface SpanRuns {
  run(run: SpanRun): Promise<SpanResult>;
}

interface CompiledSpan extends Omit<BuiltSpan, 'graph'> {
  program: SpanProgram;
  /** By slot; a program of offloaded weights gets its own. */
  weights: DeviceState;
  /** Names of all other tensors that the program takes. */
  inputs: ReadonlySet<string>;
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
export class SpanRunner implements SpanRuns {
  /** Least recently used first. */
  private readonly spans = new Map<string, Entry>();
  private readonly runs = new Set<Promise<unknown>>();
  /** Keys of runs that could not be computed as one. */
  private readonly apart = new Set<string>();
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
    try {
      const [result] = await this.registered(this.compute([run]));
      return result!;
    } catch (error) {
      disposeTensors(run.state);
      throw error;
    }
  }

  /**
   * Computes runs of one `keyOf` as one. What each gets differs from what it gets alone by no more than the order in which kernels add.
   * Unlike those of `run`, states stay the caller's if it fails; nobody's signal is looked at.
   */
  async runTogether(runs: readonly SpanRun[]): Promise<SpanResult[]> {
    try {
      return await this.registered(this.compute(runs.map(({ signal: _, ...run }) => run)));
    } catch (error) {
      if (error instanceof DejaDitError && error.code !== 'DISPOSED') this.apart.add(spanKey(runs[0]!));
      throw error;
    }
  }

  /** Equal for runs that can be computed as one; undefined for one that has to be by itself. */
  keyOf(run: SpanRun): string | undefined {
    // What an observer is shown belongs to a request.
    if (!run.rows || this.weights.observer) return undefined;
    const key = spanKey(run);
    return this.apart.has(key) ? undefined : `${key}|${(run.loras ?? this.weights.lora?.loaded)?.key}`;
  }

  /** Forgets compiled spans, after the weights' formats or names have changed. */
  reset(): void {
    for (const [key, entry] of [...this.spans]) this.drop(key, entry);
    this.apart.clear();
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

  private async registered<T>(work: Promise<T>): Promise<T> {
    this.runs.add(work);
    try {
      return await work;
    } finally {
      this.runs.delete(work);
    }
  }

  private async compute(runs: readonly SpanRun[]): Promise<SpanResult[]> {
    const [first] = runs as readonly [SpanRun, ...SpanRun[]];
    const { signal, loras = this.weights.lora?.loaded } = first;
    const check = () => {
      throwIfAborted(signal);
      if (this.disposed) throw new DejaDitError('DISPOSED', `this ${this.options.owner} was disposed`);
    };
    check();
    const entry = this.entry({ ...first, loras }, runs.length);
    entry.runs++;
    try {
      const span = await entry.compiled;
      check();
      const inputs: Record<string, DeviceTensor> = { ...span.weights };
      for (const [share, { state, extra }] of runs.entries()) {
        const nameOf = (name: string) => shareName(name, share, runs.length);
        for (const [name, tensor] of Object.entries(state)) {
          if (share === 0 && !span.rowInputs.has(name)) inputs[`state.${name}`] = tensor;
          if (span.rowInputs.has(name)) inputs[nameOf(`state.${name}`)] = tensor;
        }
        for (const [name, tensor] of Object.entries(extra ?? {})) inputs[nameOf(`extra.${name}`)] = tensor;
      }
      for (const [name, strength] of loras?.inputs ?? []) if (span.inputs.has(name)) inputs[name] = strength;
      const results = await span.program.run(inputs, check);
      return runs.map(({ state }, share) => this.result(span, { state, results, share, shares: runs.length }));
    } finally {
      entry.runs--;
      if (entry.dropped) release(entry);
    }
  }

  /** Sorts the results of a run, and disposes the state that it has replaced. */
  private result(
    span: CompiledSpan,
    { state, results, share, shares }: { state: DeviceState; results: DeviceState; share: number; shares: number },
  ): SpanResult {
    const own = (name: string) => results[shareName(name, share, shares)]!;
    const next: Record<string, DeviceTensor> = {};
    for (const name of span.passed) next[name] = state[name]!;
    for (const name of span.changed)
      next[name] = span.common.has(name)
        ? share === 0
          ? results[`state.${name}`]!
          : results[`state.${name}`]!.retain()
        : own(`state.${name}`);
    for (const [name, tensor] of Object.entries(state)) if (next[name] !== tensor) tensor.dispose();
    const outputs = Object.fromEntries(span.outputs.map((name) => [name, own(`output.${name}`)]));
    for (const [name, tensor] of Object.entries(results)) {
      if (!name.startsWith('observed.')) continue;
      const { observer } = this.weights;
      if (observer) observer(name.slice('observed.'.length), tensor);
      else tensor.dispose();
    }
    return { state: next, outputs, rows: span.rows, blockFlops: span.blockFlops };
  }

  private entry(run: SpanRun, shares: number): Entry {
    const key = `${shares}|${spanKey(run)}`;
    let entry = this.spans.get(key);
    if (entry) this.spans.delete(key);
    else entry = this.add(key, run, shares);
    this.spans.set(key, entry);
    for (const [oldest, other] of this.spans) {
      if (this.spans.size <= this.capacity) break;
      this.evict(oldest, other);
    }
    return entry;
  }

  private add(key: string, run: SpanRun, shares: number): Entry {
    const onEvict = () => this.evict(key, entry);
    const entry: Entry = { compiled: this.build(run, shares, onEvict), runs: 0, dropped: false };
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

  private async build(run: SpanRun, shares: number, onEvict: () => void): Promise<CompiledSpan> {
    const { capabilities } = this.programs.backend;
    const { graph: asEmitted, ...built } = buildSpan(run, { shares, weights: this.weights, capabilities });
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

function spanKey({ pieces, state, statics, rows, extra, loras }: SpanRun): string {
  const specs = (tensors: DeviceState = {}) =>
    Object.entries(tensors).map(([name, { dtype, shape }]) => `${name}:${dtype}[${shape}]`);
  return [
    pieces.map((piece) => piece.key),
    specs(state),
    specs(extra),
    JSON.stringify(statics ?? {}),
    rows && [...rows].sort(),
    JSON.stringify(loras?.names),
  ].join('|');
}
