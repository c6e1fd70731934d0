/** `deja-dit launch`: a command on several ranks, started by the MPI that is there. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { DejaDitError } from '../../errors/errors.ts';
import { missing } from '../../parallel/collective/mpi/check.ts';
import { findLaunchers, launchLine } from '../../parallel/collective/mpi/launchers.ts';
import type { MpiFlavour } from '../../runtime/launched-by.ts';

export interface LaunchFlags {
  nproc: number;
  hosts?: string[];
  hostfile?: string;
  mpi?: MpiFlavour;
  dryRun?: boolean;
}

/** Commands that several ranks can share. */
const shared = ['generate'];

/** Runs the command line on all ranks, and exits as the launcher does. */
export async function launch(command: readonly string[], flags: LaunchFlags): Promise<void> {
  const [name] = command;
  if (!name || !shared.includes(name))
    throw new DejaDitError('INVALID_ARGUMENT', `launch runs ${shared.join(', ')} on several ranks, not '${name}'`);
  const launchers = await findLaunchers();
  const wanted = flags.mpi;
  const launcher = wanted ? launchers.find(({ flavour }) => flavour === wanted) : launchers[0];
  if (!launcher) throw new DejaDitError('NOT_FOUND', missing(wanted ?? 'openmpi'), { path: wanted ?? 'MPI' });
  const { nproc: ranks, hosts, hostfile } = flags;
  const main = process.argv[1]!;
  const line = launchLine(launcher, { ranks, hosts, hostfile, program: [process.execPath, main, ...command] });
  if (flags.dryRun) return console.log(line.map(quoted).join(' '));
  process.exitCode = await run(line);
}

/** @returns the exit code */
function run([program, ...args]: readonly string[]): Promise<number> {
  const child = spawn(program!, args, { stdio: 'inherit' });
  // A terminal sends Ctrl-C to the launcher too, which ends the ranks; this waits until they have ended.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal!]));
  });
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
