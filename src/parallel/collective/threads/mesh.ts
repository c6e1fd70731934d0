/**
 * Message ports from one thread to all others, used in rounds: in a round every member of a group sends one letter to each other member
 * and gets one from each. Letters of all groups and rounds go through the same ports and are sorted here. A port closes when the thread
 * at its other end ends, so that a dead rank is noticed at once.
 */
import type { MessagePort } from 'node:worker_threads';
import { DejaDitError } from '../../../errors/errors.ts';
import type { TypedArray } from '../../../tensor/dtype.ts';
import { died, differing, gaveUp, hasLeft, retold, tooLate } from '../failures.ts';
import type { ThreadSeat } from './seats.ts';

interface Letter {
  /** Group and number of the round. */
  round: string;
  signature: string;
  data?: TypedArray;
}

type Message = Letter | { failed: string } | 'leaving';

/** A round that this rank has called, or that others have called before it. */
interface Inbox {
  readonly letters: Map<number, Letter>;
  waiting?: { missing(): number[]; signature: string; resolve(): void; reject(error: DejaDitError): void };
}

export interface Round {
  name: string;
  /** What all must agree on. */
  signature: string;
  /** The ranks of the group; this one is among them. */
  members: readonly number[];
  /** What a member gets. The memory moves there. */
  outgoing(member: number): TypedArray | undefined;
  deadline: number;
  signal?: AbortSignal;
}

export class Mesh {
  readonly rank: number;
  readonly size: number;
  failure: DejaDitError | undefined;
  private readonly ports = new Map<number, MessagePort>();
  private readonly left = new Set<number>();
  private readonly inboxes = new Map<string, Inbox>();

  constructor({ rank, size, ports }: ThreadSeat) {
    this.rank = rank;
    this.size = size;
    for (const [i, port] of ports.entries()) {
      const peer = i < rank ? i : i + 1;
      this.ports.set(peer, port);
      port.on('message', (message: Message) => this.receive(peer, message));
      port.on('close', () => this.lose(peer));
    }
    this.keepAlive();
  }

  /**
   * Sends and collects the letters of a round.
   * @returns what each other member sent
   * @throws DejaDitError RANK_FAILED; ABORTED on the rank whose signal fires
   */
  async round(round: Round): Promise<Map<number, TypedArray | undefined>> {
    if (this.failure) throw this.failure;
    const { name, signature, members } = round;
    const others = members.filter((member) => member !== this.rank);
    for (const member of others) {
      const data = round.outgoing(member);
      this.post(member, { round: name, signature, data }, data ? [data.buffer as ArrayBuffer] : []);
    }
    const inbox = this.inbox(name);
    try {
      await this.complete(inbox, others, round);
    } finally {
      this.inboxes.delete(name);
    }
    const { letters } = inbox;
    const said = new Map(members.map((member) => [member, letters.get(member)?.signature ?? signature]));
    const wrong = differing(said, 'calls');
    if (wrong) throw this.fail(wrong);
    return new Map([...letters].map(([member, { data }]) => [member, data]));
  }

  /**
   * Lets everything here fail for good.
   * @param told what the others hear of it; nothing if they know
   * @returns the first failure, which is the one that counts
   */
  fail(error: DejaDitError, told = error.message): DejaDitError {
    if (this.failure) return this.failure;
    this.failure = error;
    if (told) for (const peer of this.ports.keys()) this.post(peer, { failed: told });
    for (const { waiting } of this.inboxes.values()) waiting?.reject(error);
    return error;
  }

  async close(): Promise<void> {
    for (const [peer, port] of this.ports) {
      this.post(peer, 'leaving');
      port.removeAllListeners();
      port.close();
    }
    this.ports.clear();
  }

  private post(peer: number, message: Message, transfer: ArrayBuffer[] = []): void {
    this.ports.get(peer)?.postMessage(message, transfer);
  }

  private inbox(round: string): Inbox {
    const inbox = this.inboxes.get(round) ?? { letters: new Map() };
    this.inboxes.set(round, inbox);
    return inbox;
  }

  /** Waits until the letters of all others are there. */
  private async complete(inbox: Inbox, others: readonly number[], round: Round): Promise<void> {
    const { deadline, signal, signature } = round;
    const missing = () => others.filter((member) => !inbox.letters.has(member));
    const gone = missing().find((member) => this.left.has(member));
    if (gone !== undefined) throw this.fail(hasLeft(gone, signature));
    if (missing().length === 0) return;
    const giveUp = () => {
      const aborted = new DejaDitError('ABORTED', 'the request was aborted', { cause: signal?.reason });
      this.fail(aborted, gaveUp(this.rank, aborted).message);
    };
    // If this thread was busy all the time, the letters are there by then and only have not been read.
    const timer = setTimeout(() => setImmediate(expire), deadline);
    const expire = () => {
      const late = missing();
      if (inbox.waiting && late.length > 0) this.fail(tooLate(late, { rank: this.rank, deadline, signature }));
    };
    try {
      await new Promise<void>((resolve, reject) => {
        inbox.waiting = { missing, signature, resolve, reject };
        this.keepAlive();
        signal?.addEventListener('abort', giveUp);
        if (signal?.aborted) giveUp();
      });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', giveUp);
      delete inbox.waiting;
      this.keepAlive();
    }
  }

  /** Keeps the thread alive while it waits for letters, and only then. */
  private keepAlive(): void {
    const waiting = [...this.inboxes.values()].some((inbox) => inbox.waiting);
    for (const port of this.ports.values()) {
      if (waiting) port.ref();
      else port.unref();
    }
  }

  private receive(peer: number, message: Message): void {
    if (message === 'leaving') {
      this.left.add(peer);
      for (const { waiting } of this.inboxes.values())
        if (waiting?.missing().includes(peer)) this.fail(hasLeft(peer, waiting.signature));
    } else if ('failed' in message) {
      // Who noticed has told everybody.
      this.fail(retold(message.failed), '');
    } else {
      const inbox = this.inbox(message.round);
      inbox.letters.set(peer, message);
      if (inbox.waiting?.missing().length === 0) inbox.waiting.resolve();
    }
  }

  /** The port has closed. */
  private lose(peer: number): void {
    if (!this.left.has(peer)) this.fail(died(peer, 'its thread has ended'));
  }
}
