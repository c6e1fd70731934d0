/**
 * The ranks that compute a model, seen from one process: all of them as threads of this one, or one of them with the others elsewhere.
 * Every rank has a backend to compute on and groups to talk in.
 */
import type { Backend, RanksReport } from '../../runtime/backend.ts';
import type { ProgramCache } from '../../runtime/program-cache.ts';
import { arrayClass } from '../../tensor/dtype.ts';
import { type Shape, sizeOf, Tensor } from '../../tensor/tensor.ts';
import type { Collective } from '../collective/collective.ts';
import { type Layout, localShape } from '../partition/layout.ts';
import { type GroupName, Mesh, type Place } from '../partition/mesh.ts';

export interface Rank {
  readonly rank: number;
  readonly place: Place;
  readonly programs: ProgramCache;
  readonly backend: Backend;
  readonly all: Collective;
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
    /** What was opened for it, and goes with it. */
    private readonly close: () => Promise<void>,
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

  async dispose(): Promise<void> {
    await this.close();
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

/**
 * A crew that several backends use, opened when it is first needed and closed after the last of them. What the same ranks take part in is done
 * one after the other, so that they make the same calls in the same order.
 */
export class SharedCrew {
  private crew: Promise<Crew> | undefined;
  private opened: Crew | undefined;
  /** By team. */
  private readonly latest: Promise<unknown>[];
  private users = 0;

  constructor(
    readonly mesh: Mesh,
    private readonly open: () => Promise<Crew>,
  ) {
    this.latest = Array<Promise<unknown>>(mesh.size.batch).fill(Promise.resolve());
  }

  ranks(): Promise<Crew> {
    this.crew ??= this.open().then((crew) => {
      this.opened = crew;
      return crew;
    });
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
    const teams = team === undefined ? [...this.latest.keys()] : [team];
    const result = Promise.all(teams.map((index) => this.latest[index])).then(work);
    const settled = result.catch(() => undefined);
    for (const index of teams) this.latest[index] = settled;
    return result;
  }

  retain(): void {
    this.users++;
  }

  async release(): Promise<void> {
    if (--this.users > 0) return;
    await Promise.all(this.latest);
    const crew = await this.crew?.catch(() => undefined);
    this.crew = undefined;
    await crew?.dispose();
  }
}

/** Parts a group of all ranks into those that the mesh's axes need, and into teams. All ranks call it. */
export async function meshGroups(all: Collective, mesh: Mesh): Promise<Pick<Rank, 'groups' | 'team'>> {
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
