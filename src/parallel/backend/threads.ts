/** Ranks that are threads of this process. */
import { availableParallelism } from 'node:os';
import { type BackendName, openBackend } from '../../runtime/create-backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { createThreadSeats, joinThreads } from '../collective/threads/seats.ts';
import type { Mesh } from '../partition/mesh.ts';
import { Crew, meshGroups, type Rank } from './crew.ts';

export interface ThreadCrewOptions {
  backend: BackendName;
  /** Of each rank. Default: the processor's, shared out. */
  threads?: number | undefined;
  /** False: all ranks in the calling thread, one after the other: for tests. Default true. */
  worker?: boolean;
}

export async function openThreads(mesh: Mesh, { backend, threads, worker = true }: ThreadCrewOptions): Promise<Crew> {
  const each = threads ?? (backend === 'wasm' ? 1 : Math.max(1, Math.floor(availableParallelism() / mesh.ranks)));
  const groups = createThreadSeats(mesh.ranks).map((seat) => joinThreads(seat));
  const close = async () => {
    await Promise.all(groups.map((group) => group.close()));
  };
  const opened = await Promise.allSettled(
    groups.map(async (all, rank): Promise<Rank> => {
      const own = await openBackend({ backend, worker, threads: each });
      // Programs go with the executables that they belong to.
      const programs = new ProgramCache(own, { maxBytes: Number.MAX_SAFE_INTEGER });
      return { rank, place: mesh.place(rank), backend: own, programs, all, ...(await meshGroups(all, mesh)) };
    }),
  );
  const ranks = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const disposeAll = async () => {
    await close();
    await Promise.all(ranks.map((rank) => rank.backend.dispose()));
  };
  const failed = opened.find((result) => result.status === 'rejected');
  if (failed) {
    await disposeAll();
    throw failed.reason;
  }
  return new Crew(mesh, ranks, disposeAll);
}
