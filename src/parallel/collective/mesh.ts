/**
 * How ranks find out that they all do the same, whatever carries their messages. In a round every member of a group sends one letter to
 * each other member and gets one from each; letters say what is called, and may bring data. Letters of all groups and rounds are sorted
 * here. What goes wrong is told to all.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { died, differing, gaveUp, hasLeft, retold, tooLate } from './failures.ts';
import type { Waiting } from './group.ts';

interface Letter<Content> {
  /** Group and number of the round. */
  round: string;
  signature: string;
  content: Content;
}

export type Message<Content> = Letter<Content> | { failed: string } | 'leaving';

/** What carries messages: in order between any two ranks. */
export interface Links<Content> {
  post(peer: number, message: Message<Content>): void;
  /** Somebody waits for messages, or nobody does. */
  listen(waiting: boolean): void;
}

/** A round that this rank has called, or that others have called before it. */
interface Inbox<Content> {
  readonly letters: Map<number, Letter<Content>>;
  waiting?: { missing(): number[]; signature: string; resolve(): void };
}

export interface Round<Content> extends Waiting {
  name: string;
  /** What all must agree on. */
  signature: string;
  /** The ranks of the group; this one is among them. */
  members: readonly number[];
  /** What a member gets. */
  outgoing(member: number): Content;
}

export class Mesh<Content> {
  failure: DejaDitError | undefined;
  private readonly left = new Set<number>();
  private readonly inboxes = new Map<string, Inbox<Content>>();
  private readonly rejecters = new Set<(error: DejaDitError) => void>();
  private readonly others: readonly number[];

  constructor(
    readonly rank: number,
    readonly size: number,
    private readonly links: Links<Content>,
  ) {
    this.others = Array.from({ length: size }, (_, other) => other).filter((other) => other !== rank);
  }

  /**
   * Sends and collects the letters of a round.
   * @returns what each other member sent
   * @throws DejaDitError RANK_FAILED; ABORTED on the rank whose signal fires
   */
  async round(round: Round<Content>): Promise<Map<number, Content>> {
    if (this.failure) throw this.failure;
    const { name, signature, members } = round;
    const others = members.filter((member) => member !== this.rank);
    for (const member of others) this.links.post(member, { round: name, signature, content: round.outgoing(member) });
    const inbox = this.inbox(name);
    try {
      await this.complete(inbox, others, round);
    } finally {
      this.inboxes.delete(name);
    }
    const { letters } = inbox;
    const said = new Map(members.map((member) => [member, letters.get(member)?.signature ?? signature]));
    const wrong = differing(said);
    if (wrong) throw this.fail(wrong);
    return new Map([...letters].map(([member, { content }]) => [member, content]));
  }

  /**
   * Lets everything here fail for good.
   * @param told what the others hear of it; nothing if they know
   * @returns the first failure, which is the one that counts
   */
  fail(error: DejaDitError, told = error.message): DejaDitError {
    if (this.failure) return this.failure;
    this.failure = error;
    if (told) for (const peer of this.remaining()) this.links.post(peer, { failed: told });
    for (const reject of this.rejecters) reject(error);
    return error;
  }

  /**
   * Waits for something that needs other ranks, until it is there, or the group has failed.
   * @param late the failure when the deadline is over; undefined if it is there by then
   */
  async wait<T>(
    work: Promise<T>,
    { deadline, signal, late }: Waiting & { late(): DejaDitError | undefined },
  ): Promise<T> {
    if (this.failure) throw this.failure;
    const onAbort = () => {
      const aborted = new DejaDitError('ABORTED', 'the request was aborted', { cause: signal?.reason });
      this.fail(aborted, gaveUp(this.rank, aborted).message);
    };
    const expire = () => {
      const failure = late();
      if (failure) this.fail(failure);
    };
    // If this thread was busy all the time, what it waits for is there by then and only has not been read.
    const timer = setTimeout(() => setImmediate(expire), deadline);
    let rejecter: ((error: DejaDitError) => void) | undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        rejecter = reject;
        this.rejecters.add(reject);
        this.links.listen(true);
        signal?.addEventListener('abort', onAbort);
        if (signal?.aborted) onAbort();
        work.then(resolve, reject);
      });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      this.rejecters.delete(rejecter!);
      this.links.listen(this.rejecters.size > 0);
    }
  }

  /** Tells all that this rank makes no calls any more, those too that have left: they may wait to hear it. */
  leave(): void {
    for (const peer of this.others) this.links.post(peer, 'leaving');
  }

  /** Whose letters are waited for. */
  awaited(): Set<number> {
    return new Set([...this.inboxes.values()].flatMap(({ waiting }) => waiting?.missing() ?? []));
  }

  /** The ranks that have not left. */
  remaining(): number[] {
    return this.others.filter((other) => !this.left.has(other));
  }

  receive(peer: number, message: Message<Content>): void {
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

  /** Nothing will come from there any more. */
  lose(peer: number, how: string): void {
    if (!this.left.has(peer)) this.fail(died(peer, how));
  }

  private inbox(round: string): Inbox<Content> {
    const inbox = this.inboxes.get(round) ?? { letters: new Map() };
    this.inboxes.set(round, inbox);
    return inbox;
  }

  /** Waits until the letters of all others are there. */
  private async complete(inbox: Inbox<Content>, others: readonly number[], round: Round<Content>): Promise<void> {
    const { deadline, signature } = round;
    const missing = () => others.filter((member) => !inbox.letters.has(member));
    const gone = missing().find((member) => this.left.has(member));
    if (gone !== undefined) throw this.fail(hasLeft(gone, signature));
    if (missing().length === 0) return;
    const complete = new Promise<void>((resolve) => {
      inbox.waiting = { missing, signature, resolve };
    });
    const late = () =>
      missing().length > 0 ? tooLate(missing(), { rank: this.rank, deadline, signature }) : undefined;
    await this.wait(complete, { ...round, late });
  }
}
