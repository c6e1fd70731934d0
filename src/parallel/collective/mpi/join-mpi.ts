/** Joins the job of an MPI launcher: this process is one of its ranks. */
import { fstatSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import { DejaDitError } from '../../../errors/errors.ts';
import { launchedBy, pmiDescriptor } from '../../../runtime/launched-by.ts';
import type { Collective, GroupOptions } from '../collective.ts';
import { Group } from '../group.ts';
import { libraryCandidates } from './find-library.ts';
import { loadKoffi } from './library.ts';
import { MpiProcess } from './mpi-process.ts';
import { MpiTransport } from './mpi-transport.ts';

/**
 * The group of all ranks that the launcher has started. Once in a process, from its main thread; closing the group ends MPI for good.
 * A process that exits before it has closed the group waits for the others if its exit code is 0, and else fails them.
 *
 *     // mpirun -np 4 node sums.js
 *     await using group = await joinMpi();
 *     await group.allReduce(Float32Array.of(group.rank));
 *
 * @throws DejaDitError UNSUPPORTED without a launcher, without koffi, or if the library is not that of the launcher; NOT_FOUND without a library
 */
export async function joinMpi(options: GroupOptions = {}): Promise<Collective> {
  const launched = launchedBy();
  const refuse = (message: string) => new DejaDitError('UNSUPPORTED', message);
  if (!launched) throw refuse('no launcher of MPI started this process: use deja-dit launch, mpirun or srun');
  if (!isMainThread) throw refuse('joinMpi is for the main thread of a process');
  const descriptor = pmiDescriptor();
  if (descriptor !== undefined && !isOpen(descriptor))
    throw refuse(
      `MPICH's launcher speaks through file descriptor ${descriptor}, which a program in between (npx, a shell) has not passed on: ` +
        `start ranks with mpiexec -pmi-port, with deja-dit launch, or with node itself`,
    );
  const native = await loadKoffi();
  const libraries = libraryCandidates(launched.flavour);
  const { process, rank, size, version } = await MpiProcess.start({ libraries, size: launched.size });
  return new Group(new MpiTransport({ process, native, version, groups: 0 }, { id: 0, rank, size }), options);
}

function isOpen(descriptor: number): boolean {
  try {
    fstatSync(descriptor);
    return true;
  } catch {
    return false;
  }
}
