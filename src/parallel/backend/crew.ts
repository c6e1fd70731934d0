/**
 * The ranks that compute a model, seen from one process: all of them as threads of this one, or one of them with the others elsewhere.
 * Every rank has a backend to compute on and groups to talk in.
 */
import type { RanksReport } from '../../runtime/backend.ts';
import { arrayClass } from '../../tensor/dtype.ts';
import { type Shape, sizeOf, Tensor } from '../../tensor/tensor.ts';
import type { Collective } from '../collective/collective.ts';
import { type Layout, localShape } from '../partition/layout.ts';
import { type GroupName, Mesh, type Place } from '../partition/mesh.ts';
import type { OpenRank, RankPool } from './rank-pool.ts';

/** A rank in a mesh. */
export interface Rank extends OpenRank {
  readonly place: Place;
  /** Those of its batch, where there are several batches, and several of them. */
  readonly team: Collective | undefined;
  /** Those of more than one rank. */
  readonly groups: Readonly<Partial<Record<GroupName, Collective>>>;
}

/** Ranks that compute a graph together: all of a crew, or those that share its batch. */
export interface Team {
  /** Of these ranks alone. */
  readonly mesh: Mesh;
  /** Those of this process, in order. */
  readonly ranks: readonly Rank[];
  /** All of them, as this process's first rank speaks to them; absent where they are all here, or none is. */
  readonly group: Collective | undefined;
}

export class Crew {
  /** Ranks with equal coordinates on the axis of batches: what one call of the model can be computed by. */
  readonly teams: readonly Team[];
  /** All ranks. */
  readonly whole: Team;

  constructor(
    readonly mesh: Mesh,
    readonly ranks: readonly Rank[],
  ) {
    const others = ranks.length < mesh.ranks;
    const ofTeam = new Mesh({ ...mesh.size, batch: 1 });
    this.whole = { mesh, ranks, group: others ? ranks[0]!.all : undefined };
    this.teams = Array.from({ length: mesh.size.batch }, (_, team) => {
      const here = ranks.filter(({ place }) => place.batch === team);
      return { mesh: ofTeam, ranks: here, group: others ? here[0]?.team : undefined };
    });
  }

  /** The whole crew, or one of its teams. */
  team(team: number | undefined): Team {
    return team === undefined ? this.whole : this.teams[team]!;
  }

  /** Whether other processes have ranks of it. */
  get isSpread(): boolean {
    return this.whole.group !== undefined;
  }

  /** Closes the groups that are its own. */
  async dispose(): Promise<void> {
    for (const { groups, team } of this.ranks)
      for (const group of [...Object.values(groups), team]) await group?.close();
  }
}

/** Calls `take` with every rank's part of a tensor, given those of this process's ranks. */
export async function eachPart(
  { mesh, ranks, group }: Team,
  { here, layout, shape }: { here: readonly Tensor[]; layout: Layout; shape: Shape },
  take: (part: Tensor, place: Place) => void,
): Promise<void> {
  for (const [i, part] of here.entries()) take(part, ranks[i]!.place);
  if (!group) return;
  const { dtype, data } = here[0]!;
  const shapes = Array.from({ length: mesh.ranks }, (_, rank) =>
    localShape(shape, { layout, place: mesh.place(rank) }),
  );
  const counts = shapes.map(sizeOf);
  const receive = new (arrayClass(dtype))(counts.reduce((a, b) => a + b, 0));
  await group.allGather({ send: data, receive, counts });
  let at = 0;
  for (const [rank, count] of counts.entries()) {
    take(new Tensor(dtype, receive.slice(at, at + count), shapes[rank]!), mesh.place(rank));
    at += count;
  }
}

/** A crew that several backends use, formed when it is first needed and given up after the last of them. */
export class SharedCrew {
  private crew: Promise<Crew> | undefined;
  private opened: Crew | undefined;
  private users = 0;

  /** @param members the ranks of the pool that make up the mesh, in its order. Default: all */
  constructor(
    readonly pool: RankPool,
    readonly mesh: Mesh,
    readonly members: readonly number[] = Array.from({ length: pool.size }, (_, rank) => rank),
  ) {}

  ranks(): Promise<Crew> {
    if (!this.crew) {
      this.crew = this.pool.inTurn(this.members, () => this.form());
      this.crew.catch(() => undefined);
    }
    return this.crew;
  }

  /** Of this process's first rank, in all its groups. */
  get traffic(): Pick<RanksReport, 'transport' | 'collectives'> {
    const rank = this.opened?.ranks[0];
    const collectives: Record<string, { calls: number; bytes: number; milliseconds: number }> = {};
    const add = ({ traffic }: Pick<Collective, 'traffic'>) => {
      for (const [kind, { calls, bytes, milliseconds }] of Object.entries(traffic)) {
        collectives[kind] ??= { calls: 0, bytes: 0, milliseconds: 0 };
        collectives[kind].calls += calls;
        collectives[kind].bytes += bytes;
        collectives[kind].milliseconds += milliseconds;
      }
    };
    for (const group of Object.values(rank?.groups ?? {})) add(group);
    // What teams tell each other; all ranks also speak to set up groups, and to bring results together.
    const told = rank?.all.traffic.broadcast;
    if (told) add({ traffic: { broadcast: told } });
    return { transport: rank?.all.transport, collectives };
  }

  /** @param team whose ranks take part; undefined: all */
  inTurn<T>(work: () => Promise<T>, team?: number): Promise<T> {
    // Whose turn comes finds it formed.
    void this.ranks();
    const { members, mesh } = this;
    const inTeam = (_: number, index: number) => team === undefined || mesh.place(index).batch === team;
    return this.pool.inTurn(members.filter(inTeam), work);
  }

  retain(): void {
    if (this.users++ === 0) this.pool.retain();
  }

  async release(): Promise<void> {
    if (--this.users > 0) return;
    const crew = this.crew && (await this.inTurn(() => this.crew!).catch(() => undefined));
    this.crew = undefined;
    await crew?.dispose();
    await this.pool.release();
  }

  private async form(): Promise<Crew> {
    const { pool, mesh, members } = this;
    const here = (await pool.ranks()).filter(({ rank }) => members.includes(rank));
    const ranks = here.map(async (rank): Promise<Rank> => {
      const index = members.indexOf(rank.rank);
      return { ...rank, rank: index, place: mesh.place(index), ...(await meshGroups(rank.all, mesh)) };
    });
    this.opened = new Crew(mesh, await Promise.all(ranks));
    return this.opened;
  }
}

/** Parts a group of all ranks into those that the mesh's axes need, and into teams. All ranks call it, save of a mesh of one. */
async function meshGroups(all: Collective, mesh: Mesh): Promise<Pick<Rank, 'groups' | 'team'>> {
  const groups: Partial<Record<GroupName, Collective>> = {};
  for (const name of ['batch', 'sequence', 'ulysses', 'ring', 'tensor'] as const) {
    if (mesh.count(name) === 1) continue;
    const members = mesh.members(name, all.rank);
    groups[name] = await all.split({ color: members[0]!, key: members.indexOf(all.rank) });
  }
  const { batch } = mesh.size;
  const team =
    batch > 1 && mesh.ranks > batch ? await all.split({ color: mesh.place(all.rank).batch, key: all.rank }) : undefined;
  return { groups, team };
}
