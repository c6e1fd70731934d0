/** Ranks that are processes of a job of MPI: one of them is this process. */
import type { Backend } from '../../runtime/backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import type { Collective } from '../collective/collective.ts';
import { joinMpi } from '../collective/mpi/join-mpi.ts';
import { parallelismMismatch } from '../config/parallelism-config.ts';
import type { Mesh } from '../partition/mesh.ts';
import { Crew, meshGroups } from './crew.ts';

/** A process is in one job, for as long as it lives. */
let job: Promise<Collective> | undefined;

/** @param home computes what is this rank's */
export async function openMpiRank(mesh: Mesh, home: Backend): Promise<Crew> {
  job ??= joinMpi();
  const all = await job;
  if (all.size !== mesh.ranks) throw parallelismMismatch(mesh.ranks, all.size);
  const programs = new ProgramCache(home, { maxBytes: Number.MAX_SAFE_INTEGER });
  const { groups, team } = await meshGroups(all, mesh);
  const rank = { rank: all.rank, place: mesh.place(all.rank), backend: home, programs, all, groups, team };
  return new Crew(mesh, [rank], async () => {
    await programs.dispose();
    for (const group of [...Object.values(groups), team]) await group?.close();
  });
}
