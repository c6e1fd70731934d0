/**
 * Loaded models by name: on demand, as many as fit in memory together. What makes room is the model used longest ago; one that is in use
 * stays, and whoever needs its place waits.
 */
import { type EnableCacheOptions, enableCache } from '../../api/enable-cache.ts';
import { DejaDitError, suggest, throwIfAborted } from '../../errors/errors.ts';
import type { ProgramOptions } from '../../models/load/programs.ts';
import { parseParallelismConfig } from '../../parallel/config/parallelism-config.ts';
import { DiffusionPipeline } from '../../pipelines/diffusion-pipeline.ts';
import type { Pipeline } from '../../pipelines/pipeline.ts';
import { optionsSchema } from '../../pipelines/schema/options-schema.ts';
import { resolveModel } from '../../weights/hub/hub.ts';
import { openModelFolder } from '../../weights/model-folder.ts';
import { openWeights } from '../../weights/open-weights.ts';
import { jobError } from '../jobs/jobs.ts';
import { LoraShelf } from './lora-shelf.ts';
import type { EngineSettings, ModelInfo, ModelState } from './messages.ts';
import { ModelBackends } from './model-backends.ts';

/** A model that stays loaded until it is given back. */
export interface Lease {
  pipe: Pipeline;
  loras: LoraShelf;
  release(): void;
}

type Held = Pick<Lease, 'pipe' | 'loras'>;

interface Entry {
  source: string;
  /** Loading or loaded. */
  held: Promise<Held> | undefined;
  bytes: number;
  users: number;
  lastUsed: number;
}

type PoolSettings = Pick<EngineSettings, 'models' | 'memory' | 'load' | 'lora' | 'loraDir'> & {
  cache: EnableCacheOptions | undefined;
};

export class ModelPool {
  private readonly entries: Map<string, Entry>;
  private readonly backends: ModelBackends;
  /** Loads happen one after the other. */
  private turn: Promise<unknown> = Promise.resolve();
  private readonly waiting = new Set<() => void>();
  private uses = 0;

  /** @param onState told of every change */
  constructor(
    private readonly settings: PoolSettings,
    private readonly onState: (name: string, state: ModelState) => void,
  ) {
    const entry = (source: string): Entry => ({ source, held: undefined, bytes: 0, users: 0, lastUsed: 0 });
    this.backends = new ModelBackends(settings.load);
    this.entries = new Map(settings.models.map(({ name, source }) => [name, entry(source)]));
  }

  /** @throws DejaDitError what loading throws; `RUNTIME` if the model alone is larger than the memory that models may take */
  async acquire(name: string, signal?: AbortSignal): Promise<Lease> {
    const entry = this.entries.get(name);
    if (!entry) throw new DejaDitError('NOT_FOUND', `no model '${name}'; ${suggest(name, this.entries.keys())}`);
    // In use from here on, so that nobody frees it meanwhile.
    entry.users++;
    entry.lastUsed = ++this.uses;
    const release = () => {
      entry.users--;
      for (const wake of [...this.waiting]) wake();
    };
    try {
      const known = entry.held;
      const lost = (await known)?.pipe;
      // Somebody else may have seen first that its thread is gone.
      if (lost?.programs.backend.closed && entry.held === known) entry.held = this.load(name, entry, lost);
      entry.held ??= this.load(name, entry);
      const held = await entry.held;
      throwIfAborted(signal);
      let isReleased = false;
      return {
        ...held,
        release: () => {
          if (!isReleased) release();
          isReleased = true;
        },
      };
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Frees a model as soon as nobody uses it. */
  async unload(name: string): Promise<void> {
    const entry = this.entries.get(name);
    while (entry && entry.users > 0) await this.released();
    if (entry?.held) await this.free(name, entry);
  }

  async dispose(): Promise<void> {
    await this.turn.catch(() => undefined);
    for (const [name, entry] of this.entries) if (entry.held) await this.free(name, entry);
    await this.backends.dispose();
  }

  /** @param lost what is no good any more, and put away */
  private load(name: string, entry: Entry, lost?: Pipeline): Promise<Held> {
    const loading = this.turn.then(async () => {
      await lost?.dispose();
      this.onState(name, { state: 'loading' });
      const root = await resolveModel(entry.source, this.source);
      const place = await this.backends.forModel();
      const copies = this.copies();
      const need = (copies ?? 1) * (await weightBytes(root, this.settings.load, place));
      await this.makeRoom(name, need);
      const before = place.programs?.backend.live.bytes ?? 0;
      const held = await this.open(root, place);
      const { pipe } = held;
      // Ranks read weights when they first need them. Of a backend that others use too it is what has come; what their requests take
      // meanwhile is little beside weights.
      entry.bytes = Math.max(1, copies === undefined ? pipe.programs.backend.live.bytes - before : need);
      this.onState(name, { state: 'loaded', info: describeModel(pipe), bytes: entry.bytes });
      return held;
    });
    this.turn = loading.catch((error) => {
      entry.held = undefined;
      this.onState(name, { state: 'failed', error: jobError(error) });
    });
    return loading;
  }

  /** Of weights, where models are on ranks: at most as many as there are ranks with a part of their own each. */
  private copies(): number | undefined {
    const { parallelismConfig } = this.settings.cache ?? {};
    const { mesh } = (parallelismConfig && parseParallelismConfig(parallelismConfig)) || {};
    return mesh && mesh.ring * mesh.ulysses;
  }

  private get source() {
    const { variant, revision, offline } = this.settings.load;
    return { variant, revision, offline };
  }

  private async open(root: string, place: ProgramOptions): Promise<Held> {
    const { load, lora, loraDir, cache } = this.settings;
    const { revision: _, backend: _b, threads: _t, maxProgramBytes: _m, ...options } = load;
    const deferWeights = this.copies() !== undefined;
    const pipe = await DiffusionPipeline.fromPretrained(root, { ...options, ...place, deferWeights });
    try {
      const loras = new LoraShelf(pipe, { lora, loraDir });
      await loras.begin();
      if (cache) await enableCache(pipe, cache);
      return { pipe, loras };
    } catch (error) {
      await pipe.dispose();
      throw error;
    }
  }

  private async makeRoom(name: string, need: number): Promise<void> {
    const { memory } = this.settings;
    for (;;) {
      const loaded = [...this.entries].filter(([other, { held, bytes }]) => other !== name && held && bytes > 0);
      const used = loaded.reduce((sum, [, { bytes }]) => sum + bytes, 0);
      if (used + need <= memory) return;
      if (loaded.length === 0)
        throw new DejaDitError(
          'RUNTIME',
          `its weights take about ${megabytes(need)}, more than the ${megabytes(memory)} that models may; set --memory higher`,
          { path: name },
        );
      const idle = loaded.filter(([, { users }]) => users === 0);
      const [oldest] = idle.sort(([, a], [, b]) => a.lastUsed - b.lastUsed);
      if (oldest) await this.free(...oldest);
      else await this.released();
    }
  }

  private async free(name: string, entry: Entry): Promise<void> {
    const { held } = entry;
    entry.held = undefined;
    entry.bytes = 0;
    await (await held)?.pipe.dispose();
    this.onState(name, { state: 'unloaded' });
  }

  private released(): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        this.waiting.delete(wake);
        resolve();
      };
      this.waiting.add(wake);
    });
  }
}

function describeModel(pipe: Pipeline): ModelInfo {
  return {
    className: pipe.className,
    path: pipe.path,
    ...pipe.traits,
    schema: optionsSchema(pipe),
    transformers: Object.keys(pipe.transformers),
    backend: pipe.programs.backend.name,
  };
}

/**
 * Bytes of all weights of a model once loaded, about: numbers of 16 bits are widened, or in float16 those of 32 halved. What cannot be read
 * is for loading to say.
 */
async function weightBytes(
  root: string,
  { variant, computeDtype }: EngineSettings['load'],
  { programs }: ProgramOptions,
): Promise<number> {
  const isFloat16 = computeDtype !== 'float32' && programs?.backend.capabilities.float16;
  const folder = await openModelFolder(root).catch(() => undefined);
  let total = 0;
  for (const component of folder?.components.values() ?? []) {
    const source = component && (await openWeights(component.folder, { variant }).catch(() => undefined));
    if (!source) continue;
    for (const name of source.names) {
      const { dtype, bytes } = source.info(name);
      if (dtype === 'float32') total += isFloat16 ? bytes / 2 : bytes;
      else if (dtype === 'float16' || dtype === 'bfloat16') total += isFloat16 ? bytes : 2 * bytes;
      else total += bytes;
    }
    await source.close();
  }
  return total;
}

function megabytes(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.ceil(bytes / 1e6)} MB`;
}
