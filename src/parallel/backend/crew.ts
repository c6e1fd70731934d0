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
import type { GroupName, Mesh, Place } from '../partition/mesh.ts';

export interface Rank {
  readonly rank: number;
  readonly place: Place;
  readonly programs: ProgramCache;
  readonly backend: Backend;
  readonly all: Collective;
  /** Those of more than one rank. */
  readonly groups: Readonly<Partial<Record<GroupName, Collective>>>;
}

export class Crew {
  constructor(
    readonly mesh: Mesh,
    readonly ranks: readonly Rank[],
    /** What was opened for it, and goes with it. */
    private readonly close: () => Promise<void>,
  ) {}

  /** Calls `take` with every rank's part of a tensor, given those of this process's ranks. */
  async eachPart(
    here: readonly Tensor[],
    { layout, shape }: { layout: Layout; shape: Shape },
    take: (part: Tensor, place: Place) => void,
  ): Promise<void> {
    const { mesh, ranks } = this;
    for (const [i, part] of here.entries()) take(part, ranks[i]!.place);
    if (ranks.length === mesh.ranks) return;
    const [own] = ranks;
    const { dtype } = here[0]!;
    const shapes = Array.from({ length: mesh.ranks }, (_, rank) =>
      localShape(shape, { layout, place: mesh.place(rank) }),
    );
    const counts = shapes.map(sizeOf);
    const receive = new (arrayClass(dtype))(counts.reduce((a, b) => a + b, 0));
    await own!.all.allGather({ send: here[0]!.data, receive, counts });
    let at = 0;
    for (const [rank, count] of counts.entries()) {
      take(new Tensor(dtype, receive.slice(at, at + count), shapes[rank]!), mesh.place(rank));
      at += count;
    }
  }

  async dispose(): Promise<void> {
    await this.close();
  }
}

/**
 * A crew that several backends use, opened when it is first needed and closed after the last of them. What takes all ranks is done one after the
 * other, so that they make the same calls in the same order.
 */
export class SharedCrew {
  private crew: Promise<Crew> | undefined;
  private opened: Crew | undefined;
  private latest: Promise<unknown> = Promise.resolve();
  private users = 0;

  constructor(
    readonly mesh: Mesh,
    private readonly open: () => Promise<Crew>,
  ) {}

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
    for (const group of Object.values(rank?.groups ?? {})) {
      for (const [kind, { calls, bytes, milliseconds }] of Object.entries(group.traffic)) {
        collectives[kind] ??= { calls: 0, bytes: 0, milliseconds: 0 };
        collectives[kind].calls += calls;
        collectives[kind].bytes += bytes;
        collectives[kind].milliseconds += milliseconds;
      }
    }
    return { transport: rank?.all.transport, collectives };
  }

  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.latest.then(work);
    this.latest = result.catch(() => undefined);
    return result;
  }

  retain(): void {
    this.users++;
  }

  async release(): Promise<void> {
    if (--this.users > 0) return;
    await this.latest;
    const crew = await this.crew?.catch(() => undefined);
    this.crew = undefined;
    await crew?.dispose();
  }
}

/** Parts a group of all ranks into those that the mesh's axes need. All ranks call it. */
export async function meshGroups(all: Collective, mesh: Mesh): Promise<Rank['groups']> {
  const groups: Partial<Record<GroupName, Collective>> = {};
  for (const name of ['batch', 'sequence', 'ulysses', 'ring', 'tensor'] as const) {
    if (mesh.count(name) === 1) continue;
    const members = mesh.members(name, all.rank);
    groups[name] = await all.split({ color: members[0]!, key: members.indexOf(all.rank) });
  }
  return groups;
}
