/**
 * Compiled programs by the structure of their graph, so that equal spans (other blocks, other models, quantised or not)
 * share one. The least recently used are given up when all together take more memory than they may.
 */

import { DejaDitError } from '../errors/errors.ts';
import { warn } from '../errors/warnings.ts';
import { encodeOnnx } from '../graph/encode.ts';
import type { Graph } from '../graph/graph.ts';
import { lower } from '../graph/lower/lower.ts';
import { peakBytes } from '../graph/memory.ts';
import type { Backend, Executable } from './backend.ts';

export interface ProgramCacheStats {
  /** Programs held, and what they are estimated to take. */
  size: number;
  bytes: number;
  maxBytes: number;
  /** Times that a program was there when it was asked for or run. */
  hits: number;
  compiled: number;
  evicted: number;
  /** Of the compiled, those that had been evicted before. */
  recompiled: number;
  /** Milliseconds spent compiling. */
  compileTime: number;
}

export interface ProgramCacheOptions {
  /**
   * Memory that programs may take together, in bytes, by the estimate of `programBytes`; one program is kept whatever it takes.
   * Default 1 GiB.
   */
  maxBytes?: number | undefined;
}

/** A compiled graph, held by whoever asked for it. */
export interface Program {
  run: Executable['run'];
  /** Gives it back; call it once. It stays for others, until it is evicted or trimmed. */
  release(): void;
}

interface Entry {
  executable: Promise<Executable>;
  bytes: number;
  /** What tells each holder that the program should be given back. */
  holders: Set<{ onEvict: (() => void) | undefined }>;
  evicted: boolean;
}

/** Programs that come back so often after their eviction mean that the limit is too low. */
const thrashing = 16;
/** Keys of evicted programs that are remembered to tell. */
const rememberedKeys = 1024;

/**
 * @example
 * const programs = new ProgramCache(await createBackend());
 * const first = await DiffusionPipeline.fromPretrained(bundledModel(), { programs });
 * const second = await AutoModel.fromPretrained(path, { programs });
 */
export class ProgramCache {
  readonly maxBytes: number;
  private readonly entries = new Map<string, Entry>();
  private readonly gone = new Set<string>();
  private bytes = 0;
  private hits = 0;
  private compiled = 0;
  private evicted = 0;
  private recompiled = 0;
  private compileTime = 0;

  constructor(
    readonly backend: Backend,
    { maxBytes = 2 ** 30 }: ProgramCacheOptions = {},
  ) {
    if (!(maxBytes > 0))
      throw new DejaDitError('INVALID_ARGUMENT', `${maxBytes} is no number of bytes`, { path: 'maxProgramBytes' });
    this.maxBytes = maxBytes;
  }

  /**
   * The program for a graph, compiled if there is none yet. The caller gives it back.
   * @param onEvict called when the program's memory is wanted for others: whoever holds it should give it back as soon as it is
   *   not in use, and ask anew when it is needed again
   */
  async program(graph: Graph, { onEvict }: { onEvict?: () => void } = {}): Promise<Program> {
    const model = encodeOnnx(graph, { nodeNames: false });
    const key = await digest(model);
    const known = this.entries.get(key);
    const entry = known ?? this.add(key, { graph, modelBytes: model.length });
    if (known) this.touch(key, entry);
    const holder = { onEvict };
    entry.holders.add(holder);
    const release = () => {
      entry.holders.delete(holder);
      if (entry.evicted && entry.holders.size === 0) void free(entry);
    };
    this.evict();
    try {
      const executable = await entry.executable;
      return {
        run: (inputs) => {
          this.touch(key, entry);
          return executable.run(inputs);
        },
        release,
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  get stats(): ProgramCacheStats {
    const { maxBytes, bytes, hits, compiled, evicted, recompiled, compileTime } = this;
    return { size: this.entries.size, bytes, maxBytes, hits, compiled, evicted, recompiled, compileTime };
  }

  /** Frees the programs that nobody holds. */
  async trim(): Promise<void> {
    const idle = [...this.entries].filter(([, { holders }]) => holders.size === 0);
    await Promise.all(idle.map(([key, entry]) => this.remove(key, entry)));
  }

  /** Frees all programs, each once the runs under way have ended. */
  async dispose(): Promise<void> {
    await Promise.all([...this.entries].map(([key, entry]) => this.remove(key, entry)));
  }

  private add(key: string, { graph, modelBytes }: { graph: Graph; modelBytes: number }): Entry {
    // What the backend will run.
    const bytes = programBytes(lower(graph, this.backend.capabilities), modelBytes);
    const entry: Entry = { executable: this.compile(graph), bytes, holders: new Set(), evicted: false };
    if (this.gone.delete(key)) this.countRecompiled();
    this.entries.set(key, entry);
    this.bytes += bytes;
    // A graph that does not compile must not stay behind as a program.
    entry.executable.catch(() => {
      if (this.entries.get(key) === entry) this.forget(key, entry);
    });
    return entry;
  }

  private touch(key: string, entry: Entry): void {
    this.hits++;
    if (this.entries.get(key) !== entry) return;
    this.entries.delete(key);
    this.entries.set(key, entry);
  }

  private async compile(graph: Graph): Promise<Executable> {
    const start = performance.now();
    this.compiled++;
    const executable = await this.backend.compile(graph);
    this.compileTime += performance.now() - start;
    return executable;
  }

  private evict(): void {
    for (const [key, entry] of this.entries) {
      if (this.bytes <= this.maxBytes || this.entries.size === 1) return;
      this.forget(key, entry);
      this.evicted++;
      entry.evicted = true;
      this.remember(key);
      if (entry.holders.size === 0) void free(entry);
      else for (const { onEvict } of [...entry.holders]) onEvict?.();
    }
  }

  private forget(key: string, entry: Entry): void {
    this.entries.delete(key);
    this.bytes -= entry.bytes;
  }

  private async remove(key: string, entry: Entry): Promise<void> {
    this.forget(key, entry);
    await free(entry);
  }

  private remember(key: string): void {
    this.gone.add(key);
    if (this.gone.size > rememberedKeys) this.gone.delete(this.gone.keys().next().value!);
  }

  private countRecompiled(): void {
    if (++this.recompiled !== thrashing) return;
    const { maxBytes, evicted } = this;
    warn(
      `maxProgramBytes: programs take turns in ${maxBytes} bytes, ${evicted} were evicted and ${thrashing} of them compiled again; a higher limit is faster`,
    );
  }
}

/**
 * What a compiled program is estimated to take: ONNX Runtime's parsed and optimised graph, and the arena in which a run makes its
 * values and which the program keeps afterwards. Docs: architecture, "Memory".
 */
export function programBytes(graph: Graph, modelBytes: number): number {
  return sessionBytes + modelFactor * modelBytes + arenaFactor * peakBytes(graph);
}

const sessionBytes = 4 * 2 ** 20;
const modelFactor = 10;
const arenaFactor = 2;

async function free(entry: Entry): Promise<void> {
  // What did not compile, or was lost with its backend, is gone already.
  await entry.executable.then((executable) => executable.dispose()).catch(() => undefined);
}

async function digest(bytes: Uint8Array): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
