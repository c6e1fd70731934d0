/** What launchers of MPI tell the processes that they start, by environment variables. Nothing here needs MPI. */

export type MpiFlavour = 'openmpi' | 'mpich';

export interface Launched {
  /** Whose launcher it was; undefined where it serves both, as srun with PMIx does. */
  flavour: MpiFlavour | undefined;
  rank: number;
  /** Undefined where the launcher does not say it. */
  size: number | undefined;
  /** Among the ranks of this host. */
  localRank: number;
  localSize: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** What the launcher said, or undefined if no launcher of MPI started this process. */
export function launchedBy(env: Environment = process.env): Launched | undefined {
  const number = (...names: string[]): number | undefined => {
    const value = names.map((name) => env[name]).find((text) => text !== undefined);
    return value === undefined ? undefined : Number.parseInt(value, 10);
  };
  // Slurm says 2(x3),1 for how many tasks hosts have; all but the last have the first number.
  const local = {
    localRank: number('OMPI_COMM_WORLD_LOCAL_RANK', 'MPI_LOCALRANKID', 'SLURM_LOCALID') ?? 0,
    localSize: number('OMPI_COMM_WORLD_LOCAL_SIZE', 'MPI_LOCALNRANKS', 'SLURM_STEP_TASKS_PER_NODE') ?? 1,
  };
  const ofOpenMpi = number('OMPI_COMM_WORLD_RANK');
  if (ofOpenMpi !== undefined)
    return { flavour: 'openmpi', rank: ofOpenMpi, size: number('OMPI_COMM_WORLD_SIZE'), ...local };
  // With -pmi-port, MPICH's launcher says PMI_ID, and the size only when asked over the port.
  const ofPmi = number('PMI_RANK', 'PMI_ID');
  if (ofPmi !== undefined)
    return { flavour: 'mpich', rank: ofPmi, size: number('PMI_SIZE', 'SLURM_STEP_NUM_TASKS'), ...local };
  const ofPmix = number('PMIX_RANK');
  if (ofPmix !== undefined) return { flavour: undefined, rank: ofPmix, size: number('SLURM_STEP_NUM_TASKS'), ...local };
  return undefined;
}

/** The file descriptor that MPICH's launcher hands to the processes that it starts, and they to theirs only if they know of it. */
export function pmiDescriptor(env: Environment = process.env): number | undefined {
  return env['PMI_FD'] === undefined ? undefined : Number(env['PMI_FD']);
}
