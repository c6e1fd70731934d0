/** The job that this process belongs to, if a launcher of MPI started it: one rank a process. */
import os from 'node:os';
import type { Collective } from './collective.ts';
import { launchedBy } from './mpi/environment.ts';

let joined: Promise<Collective> | undefined;

/**
 * The group of all ranks of the job, or that of this process alone where no launcher started it. The first call joins the job; all get the
 * same group, which ends with the process.
 * @throws DejaDitError what `joinMpi` throws
 */
export function jobGroup(): Promise<Collective> {
  joined ??= launchedBy()
    ? import('./mpi/join-mpi.ts').then(({ joinMpi }) => joinMpi())
    : import('./solo.ts').then(({ solo }) => solo());
  return joined;
}

/** This process's rank in its job, without joining it: 0 where no launcher started it. Rank 0 is the one that writes and prints. */
export function jobRank(): number {
  return launchedBy()?.rank ?? 0;
}

/** Threads for this rank to compute with: its share of the cores of this host, or undefined (all of them) outside of a job. */
export function threadsOfRank(): number | undefined {
  const launched = launchedBy();
  return launched && Math.max(1, Math.floor(os.availableParallelism() / launched.localSize));
}
