/** Letters between ranks as short MPI messages in a group of their own, where one receive is always open. */
import type { Links, Message } from '../mesh.ts';
import type { Handle } from './flavours.ts';
import type { Mpi } from './library.ts';
import type { Poller } from './poller.ts';

/** What letters between processes bring: how many elements the sender has for the receiver. */
export type Content = number;

/** Beside those of the mesh: are you there, and the answer. */
export type Mail = Message<Content> | 'ping' | 'pong';

/** Bytes of a letter, of which the first four say how many there are. */
const letterSize = 2048;

export interface MailboxOptions {
  mpi: Mpi;
  poller: Poller;
  group: Handle;
  /** What is done with a letter. @returns whether more will come */
  receive(from: number, mail: Mail): boolean;
  /** MPI cannot send or receive any more. */
  fail(error: Error): void;
}

export class Mailbox implements Links<Content> {
  private readonly rank: number;
  private unsent = 0;

  constructor(private readonly options: MailboxOptions) {
    const { mpi, group } = options;
    this.rank = mpi.rank(group);
    if (mpi.size(group) > 1) this.open().catch(options.fail);
  }

  /** Whether all that was posted is on its way. */
  get flushed(): boolean {
    return this.unsent === 0;
  }

  post(peer: number, mail: Mail): void {
    const { mpi, poller, group, fail } = this.options;
    const text = Buffer.from(JSON.stringify([this.rank, mail]));
    const letter = Buffer.alloc(4 + text.length);
    letter.writeUInt32LE(text.length);
    letter.set(text, 4);
    this.unsent++;
    const request = mpi.start('Isend', mpi.address(letter), letter.length, mpi.constants.BYTE, peer, 0, group);
    poller.done(request, letter).then(() => this.unsent--, fail);
  }

  listen(waiting: boolean): void {
    this.options.poller.hurry = waiting;
  }

  private async open(): Promise<void> {
    const { mpi, poller, group, receive } = this.options;
    const letter = Buffer.alloc(letterSize);
    const { ANY_SOURCE, BYTE } = mpi.constants;
    let more = true;
    while (more) {
      const request = mpi.start('Irecv', mpi.address(letter), letterSize, BYTE, ANY_SOURCE, 0, group);
      await poller.done(request, letter);
      const [from, mail] = JSON.parse(letter.toString('utf8', 4, 4 + letter.readUInt32LE())) as [number, Mail];
      more = receive(from, mail);
    }
  }
}
