/** Runs ranks under a real launcher, which may be missing here. */
import { spawn } from 'node:child_process';
import { findLaunchers, type Launch, type Launcher, launchLine } from '../mpi/launchers.ts';

/** The launchers of this machine. Says which flavour goes unchecked. */
export async function launchersHere(): Promise<Launcher[]> {
  const launchers = await findLaunchers();
  for (const [flavour, packages] of [
    ['openmpi', 'openmpi-bin'],
    ['mpich', 'mpich'],
  ] as const)
    if (!launchers.some((launcher) => launcher.flavour === flavour))
      console.warn(`no ${flavour} launcher here, so ranks are not run under it (apt-get install ${packages})`);
  return launchers;
}

export interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Starts ranks and waits for all that they write. @param started gets the launcher's process id */
export function mpiRun(
  launcher: Launcher,
  { env = {}, started, ...launch }: Launch & { env?: NodeJS.ProcessEnv; started?: (pid: number) => void },
): Promise<Ran> {
  const [command, ...args] = launchLine(launcher, launch);
  const child = spawn(command!, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  if (child.pid !== undefined) started?.(child.pid);
  const ran: Ran = { code: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => {
    ran.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    ran.stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ ...ran, code }));
  });
}
