/**
 * Several ranks as one backend: graphs are parted over a mesh, tensors lie in parts on the ranks. So whatever computes on a backend (models,
 * caches, text encoders) computes on many, and none of it knows. Who the ranks are is `Crew`, how a graph is parted `partition/`.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { Graph } from '../../graph/graph.ts';
import type {
  Backend,
  BackendCapabilities,
  DeviceTensor,
  Executable,
  Live,
  RanksReport,
} from '../../runtime/backend.ts';
import { StoredTensor } from '../../runtime/stored-tensor.ts';
import { disposeTensors, TensorTable } from '../../runtime/tensor-table.ts';
import { select } from '../../tensor/selection.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { type Layout, layoutKey } from '../partition/layout.ts';
import { type Features, partition, type WeightPart } from '../partition/partition.ts';
import type { Crew, SharedCrew } from './crew.ts';
import { Distributed } from './distributed.ts';
import { RankProgram } from './rank-program.ts';

export interface ParallelBackendOptions {
  crew: SharedCrew;
  features: Features;
  /** Of the settings, for reports. */
  tag: string;
  /** Where the models were loaded. Its tensors are taken as well, and brought to the ranks when they are first used. */
  home: Backend;
}

export class ParallelBackend implements Backend {
  readonly takesStored = true;
  closed = false;
  readonly tensors = new TensorTable<Distributed>((memory) => memory.dispose());
  readonly executables = new Set<ParallelExecutable>();
  readonly crew: SharedCrew;
  private readonly foreign = new Map<DeviceTensor, Distributed>();

  constructor(readonly options: ParallelBackendOptions) {
    this.crew = options.crew;
    this.crew.retain();
  }

  get name(): string {
    return `${this.options.home.name} × ${this.crew.mesh.ranks}`;
  }

  get capabilities(): BackendCapabilities {
    return this.options.home.capabilities;
  }

  get live(): Readonly<Live> {
    return { tensors: this.tensors.tensors, bytes: this.tensors.bytes, programs: this.executables.size };
  }

  get ranksReport(): RanksReport {
    const { tag } = this.options;
    return { tag, ranks: this.crew.mesh.ranks, ...this.crew.traffic };
  }

  async compile(graph: Graph): Promise<Executable> {
    this.assertOpen();
    const executable = new ParallelExecutable(this, graph);
    this.executables.add(executable);
    return executable;
  }

  upload(tensor: Tensor, { transfer = false }: { transfer?: boolean } = {}): DeviceTensor {
    this.assertOpen();
    const { dtype, shape } = tensor;
    const host = transfer ? tensor : new Tensor(dtype, tensor.data.slice(), shape);
    return this.tensors.adopt(
      Distributed.fromHost(
        this.crew,
        { dtype, shape },
        { read: (selection) => select(host, selection), temporary: transfer },
      ),
      {
        dtype,
        shape,
      },
    );
  }

  download(tensor: DeviceTensor): Promise<Tensor> {
    this.assertOpen();
    return this.tensors.holding([tensor], ([memory]) => this.crew.inTurn(() => memory!.download()));
  }

  async agree(value: number): Promise<number> {
    const { ranks, mesh } = await this.crew.ranks();
    if (ranks.length === mesh.ranks) return value;
    const values = Float64Array.of(value);
    await this.crew.inTurn(() => ranks[0]!.all.broadcast(values));
    return values[0]!;
  }

  assertOpen(): void {
    if (this.closed) throw new DejaDitError('DISPOSED', `the backend '${this.name}' was disposed`);
  }

  /** A tensor of `home` on the ranks, for as long as it lives there. */
  adopt(tensor: DeviceTensor): Distributed {
    let memory = this.foreign.get(tensor);
    if (!memory) {
      for (const [other, copy] of this.foreign) {
        if (isAlive(other)) continue;
        copy.dispose();
        this.foreign.delete(other);
      }
      const { home } = this.options;
      const { dtype, shape } = tensor;
      memory = Distributed.fromHost(
        this.crew,
        { dtype, shape },
        tensor instanceof StoredTensor
          ? { read: (selection) => tensor.read(selection), temporary: false }
          : { read: async (selection) => select(await home.download(tensor), selection), temporary: false },
      );
      this.foreign.set(tensor, memory);
    }
    return memory;
  }

  async dispose(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    for (const executable of [...this.executables]) await executable.dispose();
    for (const memory of this.foreign.values()) memory.dispose();
    this.foreign.clear();
    await this.crew.release();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

function isAlive(tensor: DeviceTensor): boolean {
  try {
    tensor.retain().dispose();
    return true;
  } catch {
    return false;
  }
}

/** A graph as the ranks compute it when its inputs lie in certain layouts. */
interface Variant {
  readonly ranks: readonly { program: RankProgram; weights: ReadonlyMap<string, WeightPart> }[];
  readonly outputs: ReadonlyMap<string, Layout>;
}

class ParallelExecutable implements Executable {
  private readonly variants = new Map<string, Promise<Variant>>();
  private readonly names: readonly string[];
  private latest: Promise<unknown> = Promise.resolve();
  private disposed = false;

  constructor(
    private readonly backend: ParallelBackend,
    private readonly graph: Graph,
  ) {
    this.names = [...graph.inputs.keys(), ...graph.weights.map(({ slot }) => slot)];
  }

  async run(inputs: Readonly<Record<string, DeviceTensor>>): Promise<Record<string, DeviceTensor>> {
    const { backend, names } = this;
    backend.assertOpen();
    if (this.disposed) throw new DejaDitError('DISPOSED', 'this program was disposed');
    const memory = new Map<string, Distributed>();
    const own: [name: string, tensor: DeviceTensor][] = [];
    for (const name of names) {
      const tensor = inputs[name];
      if (!tensor) throw new DejaDitError('INVALID_ARGUMENT', `the program's input '${name}' is missing`);
      if (backend.tensors.owns(tensor)) own.push([name, tensor]);
      else memory.set(name, backend.adopt(tensor));
    }
    const run = backend.tensors.holding(
      own.map(([, tensor]) => tensor),
      (held) => {
        for (const [i, [name]] of own.entries()) memory.set(name, held[i]!);
        return backend.crew.inTurn(() => this.compute(memory));
      },
    );
    this.latest = run.catch(() => undefined);
    return run;
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    this.backend.executables.delete(this);
    await this.latest;
    for (const variant of this.variants.values())
      await variant.then(
        ({ ranks }) => {
          for (const { program } of ranks) program.release();
        },
        () => undefined,
      );
    this.variants.clear();
  }

  private async compute(memory: ReadonlyMap<string, Distributed>): Promise<Record<string, DeviceTensor>> {
    const { backend, graph } = this;
    const crew = await backend.crew.ranks();
    const layouts = new Map([...graph.inputs.keys()].map((name) => [name, memory.get(name)!.layout]));
    const variant = await this.variant(crew, layouts);
    const feeds = await placeAll(
      [...graph.inputs.keys()].map((name) => ({ name, memory: memory.get(name)!, layout: layouts.get(name)! })),
    );
    const parts = new Map(variant.ranks.flatMap(({ weights: ofRank }) => [...ofRank]));
    const weights = await placeAll(
      [...parts].map(([name, { of, layout }]) => ({ name, memory: memory.get(of)!, layout })),
    );
    const runs = variant.ranks.map(({ program }, i) =>
      program.run(feeds[i] ?? {}, weights[i] ?? {}).catch(async (error: Error) => {
        await crew.ranks[i]!.all.abort(error);
        throw error;
      }),
    );
    const settled = await Promise.allSettled(runs);
    const results = settled.map((result) => (result.status === 'fulfilled' ? result.value : undefined));
    const failed = settled.find((result) => result.status === 'rejected');
    if (failed) {
      for (const outputs of results) disposeTensors(outputs ?? {});
      throw failed.reason;
    }
    return Object.fromEntries(
      [...graph.outputs].map(([name, { dtype, shape }]) => {
        const parts = results.map((outputs) => outputs![name]!);
        const tensor = Distributed.fromRanks(
          backend.crew,
          { dtype, shape },
          { layout: variant.outputs.get(name)!, parts },
        );
        return [name, backend.tensors.adopt(tensor, { dtype, shape })];
      }),
    );
  }

  private variant(crew: Crew, inputs: ReadonlyMap<string, Layout>): Promise<Variant> {
    const key = [...inputs.values()].map(layoutKey).join('|');
    let variant = this.variants.get(key);
    if (!variant) {
      variant = this.build(crew, inputs);
      this.variants.set(key, variant);
      variant.catch(() => this.variants.delete(key));
    }
    return variant;
  }

  private async build(crew: Crew, inputs: ReadonlyMap<string, Layout>): Promise<Variant> {
    const {
      crew: { mesh },
      options: { features },
    } = this.backend;
    const parted = crew.ranks.map(({ rank }) => partition(this.graph, { mesh, rank, inputs, features }));
    const ranks = await Promise.all(
      parted.map(async ({ graph, weights }, i) => ({
        program: await RankProgram.compile(crew.ranks[i]!, graph),
        weights,
      })),
    );
    return { ranks, outputs: parted[0]!.outputs };
  }
}

/** For each rank its parts by name. */
async function placeAll(
  tensors: readonly { name: string; memory: Distributed; layout: Layout }[],
): Promise<Record<string, DeviceTensor>[]> {
  const ranks: Record<string, DeviceTensor>[] = [];
  // One after the other: what is read for it need not all be in memory at once.
  for (const { name, memory, layout } of tensors)
    for (const [i, part] of (await memory.place(layout)).entries()) {
      ranks[i] ??= {};
      ranks[i][name] = part;
    }
  return ranks;
}
