/** Which MPI this machine has, found out by starting two ranks that speak to each other. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { MpiFlavour } from '../../../runtime/launched-by.ts';
import { findLaunchers, type Launcher, launchLine } from './launchers.ts';

export interface MpiCheck {
  flavour: MpiFlavour;
  launcher?: Launcher;
  works: boolean;
  /** The library as the ranks have found it: `Open MPI 4.1.4`. */
  library?: string;
  /** Why it does not work, and what to do. */
  reason?: string;
}

/** Debian's and Ubuntu's packages. */
export const packages: Record<MpiFlavour, string> = { openmpi: 'openmpi-bin', mpich: 'mpich' };

/** What `check-rank.ts` prints before the library's name. */
export const greeting = 'ranks speak through ';

/** Tries both flavours. */
export async function checkMpi(): Promise<MpiCheck[]> {
  const launchers = await findLaunchers();
  return Promise.all(
    (['openmpi', 'mpich'] as const).map((flavour) => {
      const launcher = launchers.find((launcher) => launcher.flavour === flavour);
      return launcher ? tryOut(launcher) : { flavour, works: false, reason: missing(flavour) };
    }),
  );
}

/** What to do where a launcher is missing. */
export function missing(flavour: MpiFlavour): string {
  const pip = `or pip install ${flavour} and its bin folder on PATH`;
  return `no launcher of it on PATH: apt-get install ${packages[flavour]}, ${pip}`;
}

async function tryOut(launcher: Launcher): Promise<MpiCheck> {
  const { flavour } = launcher;
  // From the sources it is the built file that runs, as ranks cannot load TypeScript.
  const folder = import.meta.url.endsWith('.ts') ? '../../../../dist/parallel/collective/mpi' : '.';
  const rank = fileURLToPath(new URL(`${folder}/check-rank.js`, import.meta.url));
  const [command, ...args] = launchLine(launcher, { ranks: 2, program: [process.execPath, rank] });
  const { stdout, stderr } = await promisify(execFile)(command!, args, { timeout: 30_000 }).catch(
    (error: { stdout?: string; stderr?: string }) => ({ stdout: '', stderr: error.stderr ?? '' }),
  );
  const library = stdout.split('\n').find((line) => line.startsWith(greeting));
  if (library) return { flavour, launcher, works: true, library: library.slice(greeting.length).trim() };
  const ofRank = stderr.split('\n').find((line) => line.startsWith('deja-dit: '));
  const reason = ofRank?.slice('deja-dit: '.length) ?? stderr.split('\n').find((line) => line.trim() !== '');
  return { flavour, launcher, works: false, reason: reason?.trim() ?? 'two ranks did not find each other within 30 s' };
}
