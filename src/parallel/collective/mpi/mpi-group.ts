/** A group in the communication thread: calls are agreed on by letters, then MPI moves the data. */
import { gaveUp, tooSlow, wrongLength } from '../failures.ts';
import type { Waiting } from '../group.ts';
import type { Mesh } from '../mesh.ts';
import type { Handle } from './flavours.ts';
import type { Mpi } from './library.ts';
import type { Content } from './mailbox.ts';
import type { RemoteCall } from './memory.ts';
import { move } from './move.ts';
import type { Poller } from './poller.ts';

/** What all groups of a process have in common. */
export interface Job {
  readonly mpi: Mpi;
  readonly mesh: Mesh<Content>;
  readonly poller: Poller;
}

export interface Members {
  /** Ranks of the job, in order of their ranks in the group. */
  members: readonly number[];
  /** Names the group among all of the job. */
  label: string;
  handle: Handle;
}

export class MpiGroup {
  /** Whether data is under way. */
  moving = false;
  readonly members: readonly number[];
  readonly label: string;
  readonly handle: Handle;
  private calls = 0;
  /** The data of calls moves in their order, which is that of all ranks. */
  private queue: Promise<void> = Promise.resolve();

  constructor(
    private readonly job: Job,
    { members, label, handle }: Members,
  ) {
    this.members = members;
    this.label = label;
    this.handle = handle;
  }

  /** @param signature what all ranks must agree on */
  perform(call: RemoteCall, signature: string, waiting: Waiting): Promise<void> {
    const agreed = this.agree(call, signature, waiting);
    const before = this.queue;
    const moved = agreed.then(() => before).then(() => this.move(call, signature, waiting));
    this.queue = moved.catch(() => undefined);
    return moved;
  }

  /** Parts this group; all its ranks call it at once, which is why MPI may wait here. */
  subgroup(places: readonly number[], label: string): MpiGroup {
    const { mpi } = this.job;
    const key = places.indexOf(this.members.indexOf(this.job.mesh.rank));
    const handle = mpi.split(this.handle, { color: Math.min(...places), key });
    const members = places.map((place) => this.members[place]!);
    return new MpiGroup(this.job, { members, label: `${this.label}/${label}`, handle });
  }

  private async agree(call: RemoteCall, signature: string, waiting: Waiting): Promise<void> {
    const { mesh } = this.job;
    const { members } = this;
    const name = `${this.label}#${this.calls++}`;
    const outgoing = (member: number) => sends(call, members.indexOf(member));
    const coming = await mesh.round({ name, signature, members, outgoing, ...waiting });
    for (const [from, member] of members.entries()) {
      const [sent, expected] = [coming.get(member) ?? outgoing(member), receives(call, from)];
      if (sent !== expected) throw mesh.fail(wrongLength(member, { sent, to: mesh.rank, expected }));
    }
  }

  private async move(call: RemoteCall, signature: string, waiting: Waiting): Promise<void> {
    const { mpi, mesh, poller } = this.job;
    this.moving = true;
    const work = async () => {
      try {
        const moving = move(call, { mpi, group: this.handle });
        await Promise.all(moving.map(({ request, memory }) => poller.done(request, memory)));
      } catch (error) {
        throw mesh.fail(gaveUp(mesh.rank, error));
      } finally {
        this.moving = false;
      }
    };
    const { deadline } = waiting;
    const late = () => (this.moving ? tooSlow(mesh.rank, { signature, deadline }) : undefined);
    await mesh.wait(work(), { ...waiting, late });
  }
}

/** Elements that a member gets from this rank, where the signature does not say it. */
function sends(call: RemoteCall, to: number): number {
  if (call.kind === 'allToAll') return call.sendCounts[to]!;
  return call.kind === 'exchange' && call.to === to ? call.send.length : 0;
}

function receives(call: RemoteCall, from: number): number {
  if (call.kind === 'allToAll') return call.receiveCounts[from]!;
  return call.kind === 'exchange' && call.from === from ? call.receive.length : 0;
}
