/** Ranks that are threads of this process. */
import { availableParallelism } from 'node:os';
import { type BackendName, openBackend } from '../../runtime/create-backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { createThreadSeats, joinThreads } from '../collective/threads/seats.ts';
import type { OpenRank, OpenRanks } from './rank-pool.ts';

export interface ThreadOptions {
  backend: BackendName;
  /** Of each rank. Default: the processor's, shared out. */
  threads?: number | undefined;
  /** False: all ranks in the calling thread, one after the other: for tests. Default true. */
  worker?: boolean;
}

export async function openThreads(
  size: number,
  { backend, threads, worker = true }: ThreadOptions,
): Promise<OpenRanks> {
  const each = threads ?? (backend === 'wasm' ? 1 : Math.max(1, Math.floor(availableParallelism() / size)));
  const groups = createThreadSeats(size).map((seat) => joinThreads(seat));
  const opened = await Promise.allSettled(
    groups.map(async (all, rank): Promise<OpenRank> => {
      const own = await openBackend({ backend, worker, threads: each });
      // Programs go with the executables that they belong to.
      return { rank, backend: own, programs: new ProgramCache(own, { maxBytes: Number.MAX_SAFE_INTEGER }), all };
    }),
  );
  const ranks = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const close = async () => {
    await Promise.all(groups.map((group) => group.close()));
    await Promise.all(ranks.map((rank) => rank.backend.dispose()));
  };
  const failed = opened.find((result) => result.status === 'rejected');
  if (!failed) return { ranks, close };
  await close();
  throw failed.reason;
}
