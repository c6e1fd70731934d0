/** The launchers of MPI that this machine has, and how each is told to start ranks. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { DejaDitError } from '../../../errors/errors.ts';
import type { MpiFlavour } from '../../../runtime/launched-by.ts';

const run = promisify(execFile);

export interface Launcher {
  flavour: MpiFlavour;
  command: string;
  /** `4.1.4` */
  version: string;
}

/** Names under which distributions install them, those that others may shadow last. */
const commands = ['mpirun', 'mpiexec', 'mpirun.openmpi', 'mpiexec.hydra', 'mpiexec.mpich'];

/** One launcher of each flavour on PATH, the first that is found. */
export async function findLaunchers(): Promise<Launcher[]> {
  const found = await Promise.all(commands.map(identify));
  const launchers = found.filter((launcher) => launcher !== undefined);
  return (['openmpi', 'mpich'] as const)
    .map((flavour) => launchers.find((launcher) => launcher.flavour === flavour))
    .filter((launcher) => launcher !== undefined);
}

async function identify(command: string): Promise<Launcher | undefined> {
  const { stdout } = await run(command, ['--version'], { timeout: 10_000 }).catch(() => ({ stdout: '' }));
  const openmpi = /Open MPI\)?\s+v?([\w.]+)/.exec(stdout)?.[1];
  if (openmpi) return { flavour: 'openmpi', command, version: openmpi };
  // MPICH's launcher, which Intel MPI and others use too.
  const hydra = /HYDRA[\s\S]*?Version:\s+([\w.]+)/i.exec(stdout)?.[1];
  return hydra ? { flavour: 'mpich', command, version: hydra } : undefined;
}

export interface Launch {
  /** Ranks in all. */
  ranks: number;
  /** Names of hosts, among which the ranks are spread evenly. Default: this one. */
  hosts?: readonly string[];
  /** File of hosts, as the launcher reads it. */
  hostfile?: string;
  /** What each rank runs. */
  program: readonly string[];
}

/** Variables of the environment that ranks on other hosts need too. */
const passedOn = /^(DEJA_DIT_|HF_|UCX_|NO_COLOR$|LD_LIBRARY_PATH$)/;

/**
 * The command line that starts the ranks: each may use all cores, more ranks than cores are allowed, and standard error is not
 * decorated with explanations of what a failed rank has said itself.
 * @throws DejaDitError INVALID_ARGUMENT
 */
export function launchLine(
  { flavour, command, version }: Launcher,
  { ranks, hosts = [], hostfile, program }: Launch,
): string[] {
  if (hosts.length > ranks)
    throw new DejaDitError('INVALID_ARGUMENT', `${hosts.length} hosts for ${ranks} ranks`, { path: '--hosts' });
  if (hostfile !== undefined && hosts.length > 0)
    throw new DejaDitError('INVALID_ARGUMENT', 'has no effect beside --hosts: keep one of the two', {
      path: '--hostfile',
    });
  const places = hosts.map((host, i) => `${host}:${Math.floor((ranks + hosts.length - 1 - i) / hosts.length)}`);
  if (flavour === 'mpich') {
    const onHosts = places.length > 0 ? ['-hosts', places.join(',')] : [];
    const inFile = hostfile === undefined ? [] : ['-f', hostfile];
    return [command, ...onHosts, ...inFile, '-n', String(ranks), ...program];
  }
  const old = Number.parseInt(version, 10) < 5;
  return [
    command,
    ...(old ? ['--quiet', '--oversubscribe'] : ['--map-by', ':OVERSUBSCRIBE']),
    // Else each of two ranks gets one core.
    ...['--bind-to', 'none'],
    // Containers run as root; whoever calls this as root has decided it.
    ...(process.getuid?.() === 0 ? ['--allow-run-as-root'] : []),
    ...(places.length > 0 ? ['--host', places.join(',')] : []),
    ...(hostfile === undefined ? [] : ['--hostfile', hostfile]),
    ...Object.keys(process.env)
      .filter((name) => passedOn.test(name))
      .flatMap((name) => ['-x', name]),
    ...['-np', String(ranks)],
    ...program,
  ];
}
