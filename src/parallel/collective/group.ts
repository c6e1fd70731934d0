/** The `Collective` that callers hold, over any transport: checks arguments, counts, and finds who belongs together in a split. */
import { DejaDitError } from '../../errors/errors.ts';
import type { TypedArray } from '../../tensor/dtype.ts';
import { type Call, checkCall } from './call.ts';
import type { CallOptions, Collective, GroupOptions, Reduction, SummableArray } from './collective.ts';
import { type Traffic, TrafficCounter } from './traffic.ts';

export interface Waiting {
  deadline: number;
  signal?: AbortSignal;
}

/** What carries calls between the ranks of one group. Calls are checked. */
export interface Transport {
  readonly name: string;
  readonly rank: number;
  readonly size: number;
  readonly failure: DejaDitError | undefined;
  /** @throws DejaDitError RANK_FAILED */
  perform(call: Call, waiting: Waiting): Promise<void>;
  /** A group of some of these ranks, in this order; all of them give the same `label`, no other group has it. */
  subgroup(members: readonly number[], label: string): Promise<Transport>;
  abort(reason: Error): Promise<void>;
  close(): Promise<void>;
}

/** Long enough for a rank that still loads weights or compiles while the others wait for it. */
const patience = 600_000;

export class Group implements Collective {
  readonly rank: number;
  readonly size: number;
  readonly transport: string;
  private readonly counter = new TrafficCounter();
  private readonly children: Group[] = [];
  private readonly deadline: number;
  private splits = 0;
  private closed: Promise<void> | undefined;

  constructor(
    private readonly carrier: Transport,
    { deadline = patience }: GroupOptions = {},
  ) {
    this.rank = carrier.rank;
    this.size = carrier.size;
    this.transport = carrier.name;
    this.deadline = deadline;
  }

  get traffic(): Traffic {
    return this.counter.traffic;
  }

  get failure(): DejaDitError | undefined {
    return this.carrier.failure;
  }

  allReduce(
    data: SummableArray,
    { operation = 'sum', ...options }: CallOptions & { operation?: Reduction } = {},
  ): Promise<void> {
    return this.perform({ kind: 'allReduce', data, operation }, options);
  }

  allGather<T extends TypedArray>(
    { send, receive, counts = this.evenly(receive.length) }: { send: T; receive: T; counts?: readonly number[] },
    options: CallOptions = {},
  ): Promise<void> {
    return this.perform({ kind: 'allGather', send, receive, counts }, options);
  }

  reduceScatter<T extends SummableArray>(
    { send, receive, counts = this.evenly(send.length) }: { send: T; receive: T; counts?: readonly number[] },
    { operation = 'sum', ...options }: CallOptions & { operation?: Reduction } = {},
  ): Promise<void> {
    return this.perform({ kind: 'reduceScatter', send, receive, counts, operation }, options);
  }

  allToAll<T extends TypedArray>(
    {
      send,
      receive,
      sendCounts = this.evenly(send.length),
      receiveCounts = this.evenly(receive.length),
    }: { send: T; receive: T; sendCounts?: readonly number[]; receiveCounts?: readonly number[] },
    options: CallOptions = {},
  ): Promise<void> {
    return this.perform({ kind: 'allToAll', send, receive, sendCounts, receiveCounts }, options);
  }

  exchange<T extends TypedArray>(
    { send, to, receive, from }: { send: T; to: number; receive: T; from: number },
    options: CallOptions = {},
  ): Promise<void> {
    return this.perform({ kind: 'exchange', send, to, receive, from }, options);
  }

  broadcast(data: TypedArray, { root = 0, ...options }: CallOptions & { root?: number } = {}): Promise<void> {
    return this.perform({ kind: 'broadcast', data, root }, options);
  }

  barrier(options: CallOptions = {}): Promise<void> {
    return this.perform({ kind: 'barrier' }, options);
  }

  async split(
    { color, key = this.rank }: { color: number; key?: number },
    options: CallOptions = {},
  ): Promise<Collective> {
    const number = this.splits++;
    const places = new Float64Array(2 * this.size);
    await this.allGather({ send: Float64Array.of(color, key), receive: places }, options);
    const members = Array.from({ length: this.size }, (_, rank) => rank)
      .filter((rank) => places[2 * rank] === color)
      .sort((a, b) => places[2 * a + 1]! - places[2 * b + 1]! || a - b);
    const child = new Group(await this.carrier.subgroup(members, `${number}.${color}`), { deadline: this.deadline });
    this.children.push(child);
    return child;
  }

  abort(reason: Error): Promise<void> {
    return this.carrier.abort(reason);
  }

  close(): Promise<void> {
    this.closed ??= (async () => {
      for (const child of this.children) await child.close();
      await this.carrier.close();
    })();
    return this.closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async perform(call: Call, { deadline = this.deadline, signal }: CallOptions): Promise<void> {
    const { rank, size } = this;
    checkCall(call, { rank, size });
    if (this.failure) throw this.failure;
    if (this.closed) throw new DejaDitError('DISPOSED', 'this group of ranks was closed', { path: call.kind });
    const begin = performance.now();
    await this.carrier.perform(call, { deadline, signal });
    this.counter.add(call, { rank, size, milliseconds: performance.now() - begin });
  }

  /** The counts of equal parts. Where there are none, their sum is not the length, which the check says. */
  private evenly(length: number): number[] {
    return new Array<number>(this.size).fill(Math.floor(length / this.size));
  }
}
