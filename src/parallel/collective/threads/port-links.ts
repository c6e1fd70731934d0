/** Message ports from one thread to all others. A port closes when the thread at its other end ends, so a dead rank is noticed at once. */
import type { MessagePort } from 'node:worker_threads';
import type { TypedArray } from '../../../tensor/dtype.ts';
import { type Links, Mesh, type Message } from '../mesh.ts';
import type { ThreadSeat } from './seats.ts';

/** What letters between threads bring: data, whose memory moves. */
export type Content = TypedArray | undefined;

export class PortLinks implements Links<Content> {
  readonly mesh: Mesh<Content>;
  private readonly ports = new Map<number, MessagePort>();

  constructor({ rank, size, ports }: ThreadSeat) {
    this.mesh = new Mesh(rank, size, this);
    for (const [i, port] of ports.entries()) {
      const peer = i < rank ? i : i + 1;
      this.ports.set(peer, port);
      port.on('message', (message: Message<Content>) => this.mesh.receive(peer, message));
      port.on('close', () => this.mesh.lose(peer, 'its thread has ended'));
    }
    this.listen(false);
  }

  post(peer: number, message: Message<Content>): void {
    const data = typeof message === 'object' && 'content' in message ? message.content : undefined;
    this.ports.get(peer)?.postMessage(message, data ? [data.buffer as ArrayBuffer] : []);
  }

  /** Keeps the thread alive while it waits for letters, and only then. */
  listen(waiting: boolean): void {
    for (const port of this.ports.values()) {
      if (waiting) port.ref();
      else port.unref();
    }
  }

  close(): void {
    this.mesh.leave();
    for (const port of this.ports.values()) {
      port.removeAllListeners();
      port.close();
    }
    this.ports.clear();
  }
}
