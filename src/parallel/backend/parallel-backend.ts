/**
 * Several ranks as one backend: graphs are parted over a mesh, tensors lie in parts on the ranks. So whatever computes on a backend (models,
 * caches, text encoders) computes on many, and none of it knows. Who the ranks are is `Crew`, how a graph is parted `partition/`.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { Graph } from '../../graph/graph.ts';
import type {
  Backend,
  BackendCapabilities,
  BranchCall,
  DeviceTensor,
  Executable,
  Live,
  RanksReport,
} from '../../runtime/backend.ts';
import { StoredTensor } from '../../runtime/stored-tensor.ts';
import { disposeTensors, TensorTable } from '../../runtime/tensor-table.ts';
import { type Selection, select } from '../../tensor/selection.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { type Layout, layoutKey, whole } from '../partition/layout.ts';
import { type Features, partition, type WeightPart } from '../partition/partition.ts';
import type { SharedCrew, Team } from './crew.ts';
import { Distributed } from './distributed.ts';
import { RankProgram } from './rank-program.ts';

export interface ParallelBackendOptions {
  crew: SharedCrew;
  features: Features;
  /** Of the settings, for reports. */
  tag: string;
  /** Whether all that it computes waits for the same weights, which come and go (layerwiseOffload). Default: not. */
  takesTurns?: boolean;
  /** Where the models were loaded. Its tensors are taken as well, and brought to the ranks when they are first used. */
  home: Backend;
}

export class ParallelBackend implements Backend {
  readonly takesStored = true;
  closed = false;
  readonly tensors = new TensorTable<Distributed>((memory) => memory.dispose());
  readonly executables = new Set<ParallelExecutable>();
  readonly crew: SharedCrew;
  /** Names of guidance branches that teams compute, in the order in which they were first called. */
  private readonly branches: string[] = [];
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

  upload(tensor: Tensor, options?: { transfer?: boolean }): DeviceTensor {
    return this.uploadTo(undefined, tensor, options);
  }

  /**
   * @throws DejaDitError UNSUPPORTED if some ranks would have nothing to do, or would wait for others
   */
  forBranch({ branch, branches, samples }: BranchCall): Pick<Backend, 'upload' | 'capabilities'> {
    const { batch } = this.crew.mesh.size;
    // Samples are shared out where there are enough of them.
    if (batch === 1 || samples >= batch) return this;
    if (branches < batch)
      throw new DejaDitError(
        'UNSUPPORTED',
        `${batch} groups of ranks for calls of ${samples} sample(s), of which ${branches === 1 ? 'there is one' : `there are ${branches}`} a step: ${batch - branches} would have nothing to do`,
        { path: 'parallelismConfig.cfgSize' },
      );
    if (this.options.takesTurns)
      throw new DejaDitError(
        'UNSUPPORTED',
        'threads share the blocks that are read one after the other (layerwiseOffload), so guidance branches that are calls of their own would take turns: make ranks of processes (deja-dit launch), use another size, or load the model whole',
        { path: 'parallelismConfig.cfgSize' },
      );
    if (!this.branches.includes(branch)) this.branches.push(branch);
    const team = this.branches.indexOf(branch) % batch;
    const { capabilities } = this;
    return { capabilities, upload: (tensor, options) => this.uploadTo(team, tensor, options) };
  }

  private uploadTo(team: number | undefined, tensor: Tensor, { transfer = false }: { transfer?: boolean } = {}) {
    this.assertOpen();
    const { dtype, shape } = tensor;
    const host = transfer ? tensor : new Tensor(dtype, tensor.data.slice(), shape);
    const source = { read: (selection: Selection) => select(host, selection), temporary: transfer };
    const memory = Distributed.fromHost(this.crew, { dtype, shape }, team === undefined ? source : { ...source, team });
    return this.tensors.adopt(memory, { dtype, shape });
  }

  download(tensor: DeviceTensor): Promise<Tensor> {
    this.assertOpen();
    return this.tensors.holding([tensor], async ([memory]) => {
      // Between processes all have to be there; within one, who has it is enough.
      const { isSpread } = await this.crew.ranks();
      return this.crew.inTurn(() => memory!.download(), isSpread ? undefined : memory!.team);
    });
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

/** A graph as the ranks of a team compute it when its inputs lie in certain layouts. */
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
    return new Promise((resolve, reject) => {
      const run = backend.tensors.holding(
        own.map(([, tensor]) => tensor),
        async (held) => {
          for (const [i, [name]] of own.entries()) memory.set(name, held[i]!);
          await this.start(memory, resolve);
        },
      );
      run.catch(reject);
      this.latest = Promise.all([this.latest, run.catch(() => undefined)]);
    });
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

  /**
   * @param handOut gets the outputs: of a team of threads before they are there, so that the caller goes on to what another team is to compute, and
   *   an error comes when they are asked for; of all others when they are
   */
  private async start(
    memory: ReadonlyMap<string, Distributed>,
    handOut: (outputs: Record<string, DeviceTensor>) => void,
  ): Promise<void> {
    const { backend, graph } = this;
    const team = [...memory.values()].find((tensor) => tensor.team !== undefined)?.team;
    for (const tensor of memory.values())
      if (tensor.isElsewhere(team)) await backend.crew.inTurn(() => tensor.place(layoutOn(tensor, team), team));
    await backend.crew.inTurn(async () => {
      const layouts = new Map([...graph.inputs.keys()].map((name) => [name, layoutOn(memory.get(name)!, team)]));
      const crew = await backend.crew.ranks();
      const ranks = crew.team(team);
      const variant = await this.variant(ranks, { inputs: layouts, team });
      const computed = this.compute(memory, { variant, layouts, ranks, team });
      // A process of a job has ranks of one team, and would only wait later; weights that come and go are there until then.
      if (team === undefined || crew.isSpread) await computed;
      const outputs = [...graph.outputs].map(([name, { dtype, shape }]) => {
        const parts = computed.then((results) => results.map((ofRank) => ofRank[name]!));
        const layout = variant.outputs.get(name) ?? whole(shape.length);
        const tensor = Distributed.fromRanks(backend.crew, { dtype, shape }, { layout, parts, team });
        return [name, backend.tensors.adopt(tensor, { dtype, shape })] as const;
      });
      handOut(Object.fromEntries(outputs));
      await computed;
    }, team);
  }

  /** @returns the outputs of each of this process's ranks */
  private async compute(
    memory: ReadonlyMap<string, Distributed>,
    { variant, layouts, ranks: { ranks }, team }: TeamRun,
  ): Promise<Record<string, DeviceTensor>[]> {
    if (ranks.length === 0) return [];
    const inputs = [...layouts].map(([name, layout]) => ({ name, memory: memory.get(name)!, layout }));
    const feeds = await placeAll(inputs, team);
    const parts = new Map(variant.ranks.flatMap(({ weights: ofRank }) => [...ofRank]));
    const weights = await placeAll(
      [...parts].map(([name, { of, layout }]) => ({ name, memory: memory.get(of)!, layout })),
      team,
    );
    const runs = variant.ranks.map(({ program }, i) =>
      program.run(feeds[i] ?? {}, weights[i] ?? {}).catch(async (error: Error) => {
        await ranks[i]!.all.abort(error);
        throw error;
      }),
    );
    const settled = await Promise.allSettled(runs);
    const results = settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const failed = settled.find((result) => result.status === 'rejected');
    if (!failed) return results;
    for (const outputs of results) disposeTensors(outputs);
    throw failed.reason;
  }

  private variant(team: Team, of: { inputs: ReadonlyMap<string, Layout>; team: number | undefined }): Promise<Variant> {
    const key = [of.team, ...[...of.inputs.values()].map(layoutKey)].join('|');
    let variant = this.variants.get(key);
    if (!variant) {
      variant = this.build(team, of.inputs);
      this.variants.set(key, variant);
      variant.catch(() => this.variants.delete(key));
    }
    return variant;
  }

  private async build({ mesh, ranks }: Team, inputs: ReadonlyMap<string, Layout>): Promise<Variant> {
    const { features } = this.backend.options;
    const parted = ranks.map(({ rank }) => partition(this.graph, { mesh, rank: rank % mesh.ranks, inputs, features }));
    const programs = await Promise.all(
      parted.map(async ({ graph, weights }, i) => ({
        program: await RankProgram.compile(ranks[i]!, graph),
        weights,
      })),
    );
    return { ranks: programs, outputs: parted[0]?.outputs ?? new Map() };
  }
}

interface TeamRun {
  variant: Variant;
  /** Of the inputs. */
  layouts: ReadonlyMap<string, Layout>;
  ranks: Team;
  team: number | undefined;
}

/** In which layout a run of a team takes a tensor. */
const layoutOn = (tensor: Distributed, team: number | undefined): Layout =>
  tensor.isElsewhere(team) ? whole(tensor.spec.shape.length) : tensor.layout;

/** For each rank its parts by name. */
async function placeAll(
  tensors: readonly { name: string; memory: Distributed; layout: Layout }[],
  team: number | undefined,
): Promise<Record<string, DeviceTensor>[]> {
  const ranks: Record<string, DeviceTensor>[] = [];
  // One after the other: what is read for it need not all be in memory at once.
  for (const { name, memory, layout } of tensors)
    for (const [i, part] of (await memory.place(layout, team)).entries()) {
      ranks[i] ??= {};
      ranks[i][name] = part;
    }
  return ranks;
}
