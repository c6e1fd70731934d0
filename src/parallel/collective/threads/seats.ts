/** Places for ranks that are threads of one process. Who starts the threads hands each its place; `joinThreads` makes it a group. */
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { Collective, GroupOptions } from '../collective.ts';
import { Group } from '../group.ts';
import { PortLinks } from './port-links.ts';
import { ThreadTransport } from './thread-transport.ts';

/** One rank's place: goes to its thread by `postMessage` or `workerData`, with `ports` in the transfer list. */
export interface ThreadSeat {
  readonly rank: number;
  readonly size: number;
  /** To the other ranks, in their order. */
  readonly ports: MessagePort[];
}

/**
 * Seats for `size` ranks, each connected to all others. A seat that nobody takes must have its ports closed.
 */
export function createThreadSeats(size: number): ThreadSeat[] {
  const seats: ThreadSeat[] = Array.from({ length: size }, (_, rank) => ({ rank, size, ports: [] }));
  for (const [rank, seat] of seats.entries()) {
    // Ranks below have put in their ends already, so ports come in order.
    for (const other of seats.slice(rank + 1)) {
      const { port1, port2 } = new MessageChannel();
      seat.ports.push(port1);
      other.ports.push(port2);
    }
  }
  return seats;
}

/** Takes a seat: the group, as this rank sees it. Ranks that are not there yet are waited for by the first call. */
export function joinThreads(seat: ThreadSeat, options: GroupOptions = {}): Collective {
  const members = Array.from({ length: seat.size }, (_, rank) => rank);
  return new Group(new ThreadTransport(new PortLinks(seat), { members, label: '' }), options);
}
