/** Groups of ranks that are processes: calls go to the communication thread, arrays by their address. */
import type koffi from 'koffi';
import type { DejaDitError } from '../../../errors/errors.ts';
import { combined, copyInto, cut, nearlyEven, shortSum } from '../arrays.ts';
import { type Call, signature } from '../call.ts';
import type { SummableArray } from '../collective.ts';
import type { Transport, Waiting } from '../group.ts';
import { type MovedCall, remoteCall } from './memory.ts';
import type { MpiProcess } from './mpi-process.ts';

/** Characters of a signature that go into a letter. */
const longestSignature = 400;

/** What the groups of a process have in common. */
interface Owner {
  readonly process: MpiProcess;
  readonly native: typeof koffi;
  readonly version: string;
  /** The number of the group made last. */
  groups: number;
}

export class MpiTransport implements Transport {
  readonly name: string;
  readonly rank: number;
  readonly size: number;

  /** The sum in two steps that is under way. */
  private summing: Promise<void> = Promise.resolve();

  constructor(
    private readonly owner: Owner,
    private readonly group: { id: number; rank: number; size: number },
  ) {
    this.name = owner.version;
    this.rank = group.rank;
    this.size = group.size;
  }

  get failure(): DejaDitError | undefined {
    return this.owner.process.failure;
  }

  async perform(call: Call, waiting: Waiting): Promise<void> {
    // Calls are begun in the same order on all ranks, and a sum in two steps counts as one.
    const before = this.summing;
    if (call.kind === 'allReduce' && call.data.length > shortSum) {
      const sum = before.then(() => this.allReduce(call, waiting));
      this.summing = sum.catch(() => undefined);
      return sum;
    }
    await before;
    if (call.kind === 'reduceScatter') copyInto(call.receive, await this.sumOfPart(call, signature(call), waiting));
    else await this.move(call, signature(call), waiting);
  }

  /**
   * Moves the least that is possible, and adds in order of rank, as threads do. MPI's own sums without waiting move up to three times as
   * much (Open MPI's, between two hosts), and need not be the same each time.
   */
  private async allReduce(call: Extract<Call, { kind: 'allReduce' }>, waiting: Waiting): Promise<void> {
    const { data, operation } = call;
    const counts = nearlyEven(data.length, this.size);
    const sum = await this.sumOfPart({ send: data, counts, operation }, signature(call), waiting);
    await this.move({ kind: 'allGather', send: sum, receive: data, counts }, signature(call), waiting);
  }

  /** This rank's part of the sum. */
  private async sumOfPart(
    { send, counts, operation }: Pick<Extract<Call, { kind: 'reduceScatter' }>, 'send' | 'counts' | 'operation'>,
    said: string,
    waiting: Waiting,
  ): Promise<SummableArray> {
    const own = counts[this.rank]!;
    const receiveCounts = counts.map(() => own);
    const receive = new (send.constructor as new (length: number) => SummableArray)(own * this.size);
    await this.move({ kind: 'allToAll', send, receive, sendCounts: counts, receiveCounts }, said, waiting);
    return combined(cut(receive, receiveCounts), operation);
  }

  private move(call: MovedCall, said: string, { deadline, signal }: Waiting): Promise<void> {
    const perform = remoteCall(call, this.owner.native);
    const order = { perform, signature: shortened(said), group: this.group.id, deadline };
    return this.owner.process.ask(order, { call, signal });
  }

  async subgroup(places: readonly number[], label: string): Promise<Transport> {
    const id = ++this.owner.groups;
    await this.owner.process.ask({ subgroup: [...places], label, group: this.group.id, made: id });
    return new MpiTransport(this.owner, { id, rank: places.indexOf(this.rank), size: places.length });
  }

  async abort(reason: Error): Promise<void> {
    this.owner.process.tell({ abort: reason.message });
  }

  /** The process leaves with the group of all ranks. */
  async close(): Promise<void> {
    if (this.group.id === 0) await this.owner.process.close();
  }
}

/** Letters are short; what does not fit is told apart by a number. */
function shortened(text: string): string {
  if (text.length <= longestSignature) return text;
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) >>> 0;
  return `${text.slice(0, longestSignature)}… (${hash.toString(16)})`;
}
