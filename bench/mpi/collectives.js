/**
 * What a collective costs on this machine or cluster: the least time of several, for a short message and a long one.
 *
 *   node bench/mpi/collectives.js 2                      two threads
 *   mpirun -np 2 --bind-to none node bench/mpi/collectives.js      two processes
 *   bench/mpi/two-hosts.sh mpirun --host left:1,right:1 -np 2 node bench/mpi/collectives.js
 */
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { joinMpi } from '../../dist/parallel/collective/mpi/join-mpi.js';
import { createThreadSeats, joinThreads } from '../../dist/parallel/collective/threads/seats.js';
import { launchedBy } from '../../dist/runtime/launched-by.js';

/** Bytes that each rank has, and how often. */
const messages = [
  { name: '4 KiB', bytes: 4096, times: 200, unit: 'us' },
  { name: '1 MiB', bytes: 1 << 20, times: 50, unit: 'ms' },
  { name: '48 MiB', bytes: 48 << 20, times: 5, unit: 'ms' },
];

async function measure(group) {
  const { rank, size } = group;
  const rows = [];
  for (const { name, bytes, times, unit } of messages) {
    const send = new Float32Array(bytes / 4).fill(rank);
    const part = send.subarray(0, Math.floor(send.length / size));
    const even = send.subarray(0, part.length * size);
    const receive = new Float32Array(even.length);
    const calls = {
      allReduce: () => group.allReduce(send),
      allGather: () => group.allGather({ send: part, receive }),
      allToAll: () => group.allToAll({ send: even, receive }),
      exchange: () => group.exchange({ send: even, to: (rank + 1) % size, receive, from: (rank + size - 1) % size }),
    };
    const row = { message: name };
    for (const [kind, call] of Object.entries(calls)) {
      await call();
      let least = Number.POSITIVE_INFINITY;
      for (let i = 0; i < times; i++) {
        await group.barrier();
        const begin = performance.now();
        await call();
        least = Math.min(least, performance.now() - begin);
      }
      row[kind] = unit === 'us' ? `${(1000 * least).toFixed(0)} us` : `${least.toFixed(1)} ms`;
    }
    rows.push(row);
  }
  if (rank > 0) return;
  console.log(`${group.transport}, ${size} ranks: what each has, and the time of a call`);
  const columns = Object.keys(rows[0]);
  for (const row of [Object.fromEntries(columns.map((column) => [column, column])), ...rows])
    console.log(columns.map((column) => row[column].padStart(10)).join('  '));
}

if (!isMainThread) {
  const group = joinThreads(workerData.seat);
  await measure(group);
  await group.close();
} else if (launchedBy()) {
  const group = await joinMpi();
  await measure(group);
  await group.close();
} else {
  for (const seat of createThreadSeats(Number(process.argv[2] ?? 2)))
    new Worker(new URL(import.meta.url), { workerData: { seat }, transferList: seat.ports });
}
