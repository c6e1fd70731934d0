/**
 * Notices ranks that will never answer, long before a deadline: processes of this host that have ended, and processes anywhere whose
 * communication thread does not answer, because they are stopped or their host is gone. A rank that computes for long does answer.
 */
import { silent } from '../failures.ts';
import type { Mesh } from '../mesh.ts';
import type { Content, Mail } from './mailbox.ts';

/** Where a rank runs. */
export interface Whereabouts {
  host: string;
  pid: number;
}

/** Milliseconds between looks, of waiting before a rank is asked whether it is there, and of its silence that count as hanging. */
const every = 50;
const askAfter = 1000;
const hanging = 10_000;

interface Patience {
  since: number;
  asked?: number;
}

export class Watch {
  private readonly neighbours: number[];
  private readonly patience = new Map<number, Patience>();
  private next = 0;

  constructor(
    private readonly mesh: Mesh<Content>,
    private readonly ranks: readonly Whereabouts[],
    private readonly calls: {
      post(peer: number, mail: Mail): void;
      /** The ranks that calls wait for now. */
      awaited(): Set<number>;
    },
  ) {
    const { host } = ranks[mesh.rank]!;
    // Hosts of one name may be containers, which do not see each other's processes.
    this.neighbours = mesh.remaining().filter((peer) => ranks[peer]!.host === host && this.lives(peer));
  }

  /** Something came from there. */
  heard(peer: number): void {
    this.patience.delete(peer);
  }

  /** Looks after all, from time to time. */
  tick(now: number): void {
    if (now < this.next || this.mesh.failure) return;
    this.next = now + every;
    const remaining = new Set(this.mesh.remaining());
    for (const peer of this.neighbours)
      if (remaining.has(peer) && !this.lives(peer)) this.mesh.lose(peer, `its process ${this.place(peer)} has ended`);
    const awaited = this.calls.awaited();
    for (const peer of this.patience.keys()) if (!awaited.has(peer)) this.patience.delete(peer);
    for (const peer of awaited) if (remaining.has(peer)) this.ask(peer, now);
  }

  private ask(peer: number, now: number): void {
    const patience = this.patience.get(peer) ?? { since: now };
    this.patience.set(peer, patience);
    if (now - patience.since < askAfter) return;
    if (patience.asked === undefined) {
      patience.asked = now;
      this.calls.post(peer, 'ping');
    } else if (now - patience.asked > hanging) {
      this.mesh.fail(silent(peer, `its process ${this.place(peer)} has not answered for ${hanging / 1000} s`));
    }
  }

  private lives(peer: number): boolean {
    try {
      return process.kill(this.ranks[peer]!.pid, 0);
    } catch (error) {
      // Another user's process is there too.
      return (error as NodeJS.ErrnoException).code === 'EPERM';
    }
  }

  private place(peer: number): string {
    const { host, pid } = this.ranks[peer]!;
    return `${pid} on ${host}`;
  }
}
