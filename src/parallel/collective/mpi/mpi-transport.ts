/** Groups of ranks that are processes: calls go to the communication thread, arrays by their address. */
import type koffi from 'koffi';
import type { DejaDitError } from '../../../errors/errors.ts';
import { type Call, signature } from '../call.ts';
import type { Transport, Waiting } from '../group.ts';
import { remoteCall } from './memory.ts';
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

  perform(call: Call, { deadline, signal }: Waiting): Promise<void> {
    const perform = remoteCall(call, this.owner.native);
    const order = { perform, signature: shortened(signature(call)), group: this.group.id, deadline };
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
