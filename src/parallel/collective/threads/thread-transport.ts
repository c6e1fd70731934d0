/** The collective operations as rounds of letters between threads. Sums are taken in order of rank, so they are the same everywhere. */
import type { DejaDitError } from '../../../errors/errors.ts';
import type { TypedArray } from '../../../tensor/dtype.ts';
import { combined, copyInto, cut, nearlyEven, shortSum } from '../arrays.ts';
import { type Call, signature } from '../call.ts';
import type { Reduction, SummableArray } from '../collective.ts';
import { gaveUp, wrongLength } from '../failures.ts';
import type { Transport, Waiting } from '../group.ts';
import type { PortLinks } from './port-links.ts';

/** Where parts come from and go to, by rank. This rank's own is asked for too. */
interface Parts {
  send(to: number): TypedArray | undefined;
  receive(from: number): number;
}

/** Makes the rounds of one call. */
type Exchange = (parts: Parts) => Promise<(TypedArray | undefined)[]>;

export class ThreadTransport implements Transport {
  readonly name = 'threads';
  readonly rank: number;
  readonly size: number;
  private readonly members: readonly number[];
  private readonly label: string;
  private calls = 0;

  /** @param options `members`: the ranks of the mesh that belong to this group, in order; `label`: names it among all groups of the mesh */
  constructor(
    private readonly links: PortLinks,
    { members, label }: { members: readonly number[]; label: string },
  ) {
    this.members = members;
    this.label = label;
    this.rank = members.indexOf(links.mesh.rank);
    this.size = members.length;
  }

  get failure(): DejaDitError | undefined {
    return this.links.mesh.failure;
  }

  async perform(call: Call, waiting: Waiting): Promise<void> {
    const { rank } = this;
    const exchange = this.exchange(signature(call), waiting);
    switch (call.kind) {
      case 'allReduce':
        return this.allReduce(call, exchange);
      case 'allGather': {
        const parts = await exchange({ send: () => call.send, receive: (from) => call.counts[from]! });
        return join(parts, call.receive);
      }
      case 'reduceScatter': {
        const sent = cut(call.send, call.counts);
        const parts = await exchange({ send: (to) => sent[to]!, receive: () => call.receive.length });
        return copyInto(call.receive, combined(parts as SummableArray[], call.operation));
      }
      case 'allToAll': {
        const sent = cut(call.send, call.sendCounts);
        return join(
          await exchange({ send: (to) => sent[to]!, receive: (from) => call.receiveCounts[from]! }),
          call.receive,
        );
      }
      case 'exchange': {
        const { send, to, receive, from } = call;
        const parts = await exchange({
          send: (other) => (other === to ? send : undefined),
          receive: (other) => (other === from ? receive.length : 0),
        });
        return copyInto(receive, parts[from]!);
      }
      case 'broadcast': {
        const { data, root } = call;
        const parts = await exchange({
          send: () => (rank === root ? data : undefined),
          receive: (from) => (from === root ? data.length : 0),
        });
        return rank === root ? undefined : copyInto(data, parts[root]!);
      }
      case 'barrier':
        await exchange({ send: () => undefined, receive: () => 0 });
    }
  }

  async subgroup(places: readonly number[], label: string): Promise<Transport> {
    const members = places.map((place) => this.members[place]!);
    return new ThreadTransport(this.links, { members, label: `${this.label}/${label}` });
  }

  async abort(reason: Error): Promise<void> {
    const { mesh } = this.links;
    mesh.fail(gaveUp(mesh.rank, reason));
  }

  /** The links go with the group of all. */
  async close(): Promise<void> {
    if (this.label === '') this.links.close();
  }

  private async allReduce(
    { data, operation }: { data: SummableArray; operation: Reduction },
    exchange: Exchange,
  ): Promise<void> {
    if (data.length <= shortSum) {
      const all = await exchange({ send: () => data, receive: () => data.length });
      return copyInto(data, combined(all as SummableArray[], operation));
    }
    const counts = nearlyEven(data.length, this.size);
    const sent = cut(data, counts);
    const own = counts[this.rank]!;
    const parts = await exchange({ send: (to) => sent[to]!, receive: () => own });
    const sum = combined(parts as SummableArray[], operation);
    join(await exchange({ send: () => sum, receive: (from) => counts[from]! }), data);
  }

  private exchange(signature: string, waiting: Waiting): Exchange {
    const call = this.calls++;
    let rounds = 0;
    return async ({ send, receive }) => {
      const { members, rank } = this;
      const { mesh } = this.links;
      const received = await mesh.round({
        name: `${this.label}#${call}.${rounds++}`,
        signature,
        members,
        outgoing: (member) => send(members.indexOf(member))?.slice(),
        ...waiting,
      });
      return members.map((member, from) => {
        const part = from === rank ? send(rank) : received.get(member);
        const [sent, expected] = [part?.length ?? 0, receive(from)];
        if (sent !== expected) throw mesh.fail(wrongLength(member, { sent, to: mesh.rank, expected }));
        return part;
      });
    };
  }
}

function join(parts: readonly (TypedArray | undefined)[], target: TypedArray): void {
  const places = cut(
    target,
    parts.map((part) => part?.length ?? 0),
  );
  for (const [i, part] of parts.entries()) if (part) copyInto(places[i]!, part);
}
