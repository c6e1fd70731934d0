/** Calls as operations of MPI. Data that is only moved goes by the width of its elements, data that is summed by their type. */
import { offsets } from '../arrays.ts';
import type { Handle } from './flavours.ts';
import type { Mpi, Request } from './library.ts';
import type { Memory, RemoteCall } from './memory.ts';

/** Requests that are under way, each with what must stay in memory until it is over. */
export type Moving = { request: Request; memory?: unknown }[];

/** Begins to move a call's data within a group. */
export function move(call: RemoteCall, { mpi, group }: { mpi: Mpi; group: Handle }): Moving {
  const { constants } = mpi;
  const widths: Record<number, Handle> = {
    1: constants.BYTE,
    2: constants.INT16_T,
    4: constants.INT32_T,
    8: constants.DOUBLE,
  };
  const types: Record<string, Handle> = {
    float32: constants.FLOAT,
    float64: constants.DOUBLE,
    int32: constants.INT32_T,
  };
  const operations = { sum: constants.SUM, max: constants.MAX };
  const width = ({ bytesPerElement }: Memory) => widths[bytesPerElement]!;
  /** Counts and where the parts begin. */
  const layout = (counts: readonly number[]): [Int32Array, Int32Array] => {
    mpi.checkCounts(counts);
    return [Int32Array.from(counts), Int32Array.from(offsets(counts))];
  };
  switch (call.kind) {
    case 'allReduce': {
      const { data, operation } = call;
      mpi.checkCounts([data.length]);
      const [type, how] = [types[data.type]!, operations[operation]];
      const request = mpi.start('Iallreduce', constants.IN_PLACE, data.address, data.length, type, how, group);
      return [{ request }];
    }
    case 'allGather': {
      const { send, receive } = call;
      const [counts, starts] = layout(call.counts);
      const type = width(send);
      const request = mpi.start(
        'Iallgatherv',
        ...[send.address, send.length, type],
        ...[receive.address, counts, starts, type],
        group,
      );
      return [{ request, memory: [counts, starts] }];
    }
    case 'allToAll': {
      const { send, receive } = call;
      const [sent, from] = layout(call.sendCounts);
      const [received, to] = layout(call.receiveCounts);
      const type = width(send);
      const request = mpi.start(
        'Ialltoallv',
        ...[send.address, sent, from, type],
        ...[receive.address, received, to, type],
        group,
      );
      return [{ request, memory: [sent, from, received, to] }];
    }
    case 'exchange': {
      const { send, to, receive, from } = call;
      mpi.checkCounts([send.length]);
      mpi.checkCounts([receive.length]);
      const coming = mpi.start('Irecv', receive.address, receive.length, width(receive), from, 0, group);
      const going = mpi.start('Isend', send.address, send.length, width(send), to, 0, group);
      return [{ request: coming }, { request: going }];
    }
    case 'broadcast': {
      const { data, root } = call;
      mpi.checkCounts([data.length]);
      return [{ request: mpi.start('Ibcast', data.address, data.length, width(data), root, group) }];
    }
    case 'barrier':
      // Who has agreed has met all others.
      return [];
  }
}
