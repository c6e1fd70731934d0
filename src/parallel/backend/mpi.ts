/** Ranks that are processes of a job of MPI: one of them is this process. */
import type { Backend } from '../../runtime/backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import type { Collective } from '../collective/collective.ts';
import { joinMpi } from '../collective/mpi/join-mpi.ts';
import { parallelismMismatch } from '../config/parallelism-config.ts';
import type { OpenRanks } from './rank-pool.ts';

/** A process is in one job, for as long as it lives. */
let job: Promise<Collective> | undefined;

/**
 * @param size of the job
 * @param home computes what is this rank's
 */
export async function openMpiRank(size: number, home: Backend): Promise<OpenRanks> {
  job ??= joinMpi();
  const all = await job;
  if (all.size !== size) throw parallelismMismatch(size, all.size);
  const programs = new ProgramCache(home, { maxBytes: Number.MAX_SAFE_INTEGER });
  return { ranks: [{ rank: all.rank, backend: home, programs, all }], close: () => programs.dispose() };
}
