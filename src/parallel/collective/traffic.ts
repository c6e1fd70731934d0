/** What a rank's calls moved: for summaries, and to compare with what a scheme must move at least. */
import type { Call } from './call.ts';

export interface CallTraffic {
  calls: number;
  /**
   * Bytes that came from other ranks, as the algorithm counts that moves the least: of `n` bytes on `p` ranks, all-reduce counts
   * 2·n·(p − 1)/p, the others what is not this rank's own. What the transport adds is not counted.
   */
  bytes: number;
  /** From call to result: moving, and waiting for other ranks. Calls that overlap count each. */
  milliseconds: number;
}

export type Traffic = Readonly<Partial<Record<Call['kind'], Readonly<CallTraffic>>>>;

export class TrafficCounter {
  readonly traffic: Partial<Record<Call['kind'], CallTraffic>> = {};

  add(call: Call, { rank, size, milliseconds }: { rank: number; size: number; milliseconds: number }): void {
    this.traffic[call.kind] ??= { calls: 0, bytes: 0, milliseconds: 0 };
    const entry = this.traffic[call.kind]!;
    entry.calls++;
    entry.bytes += bytesReceived(call, rank, size);
    entry.milliseconds += milliseconds;
  }
}

function bytesReceived(call: Call, rank: number, size: number): number {
  switch (call.kind) {
    case 'allReduce':
      return Math.round((2 * call.data.byteLength * (size - 1)) / size);
    case 'allGather':
      return call.receive.byteLength - call.send.byteLength;
    case 'reduceScatter':
      return call.receive.byteLength * (size - 1);
    case 'allToAll':
      return call.receive.byteLength - call.receiveCounts[rank]! * call.receive.BYTES_PER_ELEMENT;
    case 'exchange':
      return call.from === rank ? 0 : call.receive.byteLength;
    case 'broadcast':
      return call.root === rank ? 0 : call.data.byteLength;
    case 'barrier':
      return 0;
  }
}
