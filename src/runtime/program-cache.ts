/**
 * Compiled programs by the structure of their graph, so that equal spans (other blocks, other models, quantised or not)
 * share one. Least recently used programs are dropped; the counters are shown in cache summaries.
 */
import { encodeOnnx } from '../graph/encode.ts';
import type { Graph } from '../graph/graph.ts';
import type { Backend, Executable } from './backend.ts';

export interface ProgramCacheStats {
  size: number;
  capacity: number;
  hits: number;
  compiled: number;
  evicted: number;
  /** Milliseconds spent compiling. */
  compileTime: number;
}

/** A compiled graph that may be evicted and is then compiled again on its next use. */
export interface Program {
  run: Executable['run'];
}

interface Entry {
  executable: Promise<Executable>;
  running: number;
  evicted: boolean;
}

export class ProgramCache {
  private readonly entries = new Map<string, Entry>();
  private hits = 0;
  private compiled = 0;
  private evicted = 0;
  private compileTime = 0;

  /** @param capacity programs kept; each holds a session with its own thread pool and arena */
  constructor(
    readonly backend: Backend,
    readonly capacity = 48,
  ) {}

  /** The program for a graph. Compiles on first use, and again if it was evicted meanwhile. */
  async program(graph: Graph): Promise<Program> {
    const key = latin1(encodeOnnx(graph, { nodeNames: false }));
    await this.entry(key, graph).executable;
    return {
      run: async (inputs) => {
        const entry = this.entry(key, graph);
        entry.running++;
        try {
          return await (await entry.executable).run(inputs);
        } finally {
          entry.running--;
          if (entry.evicted && entry.running === 0) void dispose(entry);
        }
      },
    };
  }

  get stats(): ProgramCacheStats {
    const { capacity, hits, compiled, evicted, compileTime } = this;
    return { size: this.entries.size, capacity, hits, compiled, evicted, compileTime };
  }

  async dispose(): Promise<void> {
    const entries = [...this.entries.values()];
    this.entries.clear();
    await Promise.all(entries.map(dispose));
  }

  private entry(key: string, graph: Graph): Entry {
    let entry = this.entries.get(key);
    if (entry) {
      this.hits++;
      this.entries.delete(key);
    } else {
      entry = { executable: this.compile(graph), running: 0, evicted: false };
      // A graph that does not compile must not stay behind as a program.
      entry.executable.catch(() => this.entries.delete(key));
    }
    this.entries.set(key, entry);
    this.evict();
    return entry;
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
      if (this.entries.size <= this.capacity) return;
      this.entries.delete(key);
      this.evicted++;
      entry.evicted = true;
      if (entry.running === 0) void dispose(entry);
    }
  }
}

async function dispose(entry: Entry): Promise<void> {
  const executable = await entry.executable.catch(() => undefined);
  await executable?.dispose();
}

/** Bytes as a string, so that a Map can compare keys exactly. */
function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return text;
}
