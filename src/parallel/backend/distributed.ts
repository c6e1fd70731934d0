/**
 * A tensor on the ranks of a mesh. It comes from the host and is brought to the ranks when it is first used, in the parts that are used; or
 * from a run, where it lies as the run left it. In whatever further layout it is asked for, it is made from what there is.
 */
import type { ValueSpec } from '../../graph/graph.ts';
import type { DeviceTensor } from '../../runtime/backend.ts';
import { disposeTensors } from '../../runtime/tensor-table.ts';
import { arrayClass } from '../../tensor/dtype.ts';
import type { Selection } from '../../tensor/selection.ts';
import { sizeOf, Tensor } from '../../tensor/tensor.ts';
import { cutTensor, isWhole, type Layout, layoutKey, putPart, selectionOf, whole } from '../partition/layout.ts';
import { type Crew, eachPart, type SharedCrew, type Team } from './crew.ts';

/** For each of this process's ranks, in order. */
type Parts = readonly DeviceTensor[];

/** The tensor on the host, or in a file. */
export interface HostSource {
  /** Parts are in memory of their own, and so is all that comes from a file. */
  read(selection: Selection): Tensor | Promise<Tensor>;
  /** Whether it is given up once its values are on the ranks. */
  readonly temporary: boolean;
}

/** Where a tensor lies that a run has made. */
export interface Made {
  layout: Layout;
  /** On this process's ranks of the team; there once they are computed. */
  parts: Promise<Parts>;
  /** Those who computed it; undefined: the whole crew. */
  team: number | undefined;
}

export class Distributed {
  private readonly placed = new Map<string, Promise<Parts>>();
  private source: HostSource | undefined;
  private disposed = false;

  /**
   * @param spec of the whole tensor
   * @param layout in which it lies, or in which it would come as it is
   * @param team who has it, or of an input, who is to compute with it; undefined: the whole crew
   */
  private constructor(
    private readonly crew: SharedCrew,
    readonly spec: ValueSpec,
    readonly layout: Layout,
    readonly team: number | undefined,
  ) {}

  static fromHost(crew: SharedCrew, spec: ValueSpec, { team, ...source }: HostSource & { team?: number }): Distributed {
    const tensor = new Distributed(crew, spec, whole(spec.shape.length), team);
    tensor.source = source;
    return tensor;
  }

  static fromRanks(crew: SharedCrew, spec: ValueSpec, { layout, parts, team }: Made): Distributed {
    const tensor = new Distributed(crew, spec, layout, team);
    // Whoever asks for it gets the error.
    parts.catch(() => undefined);
    tensor.placed.set(keyOf(layout, team), parts);
    return tensor;
  }

  /** Whether it is to be brought from one team to another before that can compute with it. */
  isElsewhere(team: number | undefined): boolean {
    return this.source === undefined && this.team !== undefined && this.team !== team;
  }

  /** What the ranks of a team have of it in a layout; stays this tensor's. */
  place(layout: Layout, team: number | undefined): Promise<Parts> {
    const key = keyOf(layout, team);
    let parts = this.placed.get(key);
    if (!parts) {
      parts = this.bring(layout, team);
      this.placed.set(key, parts);
      parts.catch(() => this.placed.delete(key));
    }
    return parts;
  }

  /** The whole tensor, in memory of its own where it comes from ranks. Where ranks are other processes, all of them have to ask. */
  async download(): Promise<Tensor> {
    if (this.source) return this.source.read([]);
    const crew = await this.crew.ranks();
    const value = await this.gather(crew.team(this.team));
    if (this.team === undefined || !crew.isSpread) return value!;
    return this.tell(crew, value);
  }

  dispose(): void {
    this.disposed = true;
    this.source = undefined;
    for (const parts of this.placed.values()) parts.then(disposeTensors).catch(() => undefined);
    this.placed.clear();
  }

  /** The whole tensor on processes with a rank of the team; undefined on others. */
  private async gather(team: Team): Promise<Tensor | undefined> {
    const { spec, layout } = this;
    const [own] = team.ranks;
    if (!own) return undefined;
    const everywhere = await this.placed.get(keyOf(whole(spec.shape.length), this.team));
    if (everywhere) return own.backend.download(everywhere[0]!, { copy: true });
    const parts = await this.place(layout, this.team);
    const here = await Promise.all(parts.map((part, i) => team.ranks[i]!.backend.download(part, { copy: true })));
    const all = new Tensor(spec.dtype, new (arrayClass(spec.dtype))(sizeOf(spec.shape)), spec.shape);
    await eachPart(team, { here, layout, shape: spec.shape }, (part, place) => putPart(all, part, { layout, place }));
    return all;
  }

  /** Tells all processes what one team has. Who has it need not wait until the others have heard. */
  private async tell({ mesh, whole: { group } }: Crew, value: Tensor | undefined): Promise<Tensor> {
    const { dtype, shape } = this.spec;
    const data = value ? value.data.slice() : new (arrayClass(dtype))(sizeOf(shape));
    const told = group!.broadcast(data, { root: (this.team! * mesh.ranks) / mesh.size.batch });
    if (!value) await told;
    // If that fails, so does whatever is said next.
    else told.catch(() => undefined);
    return value ?? new Tensor(dtype, data, shape);
  }

  private async bring(layout: Layout, team: number | undefined): Promise<Parts> {
    const { source } = this;
    const all = source && !isWhole(layout) ? undefined : await this.download();
    const { ranks } = (await this.crew.ranks()).team(team);
    const parts: DeviceTensor[] = [];
    for (const { place, backend } of ranks) {
      const part = all ? cutTensor(all, { layout, place }) : await source!.read(selectionOf(layout, place));
      parts.push(backend.upload(part, { transfer: part !== all }));
    }
    if (this.source?.temporary && team === this.team) this.source = undefined;
    if (this.disposed) disposeTensors(parts);
    return parts;
  }
}

const keyOf = (layout: Layout, team: number | undefined): string => `${team ?? 'all'}|${layoutKey(layout)}`;
