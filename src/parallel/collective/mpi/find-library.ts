/** Which files may be the MPI library that belongs to a launcher. */
import { existsSync, realpathSync } from 'node:fs';
import path from 'node:path';
import type { Launched, MpiFlavour } from '../../../runtime/launched-by.ts';

/** Names that the system's loader looks for, the standard's interface first. */
const names: Record<NodeJS.Platform & ('linux' | 'darwin'), Record<MpiFlavour, string[]>> = {
  linux: {
    openmpi: ['libmpi.so.40'],
    mpich: ['libmpi_abi.so.1', 'libmpich.so.12', 'libmpi.so.12'],
  },
  darwin: {
    openmpi: ['libmpi.40.dylib'],
    mpich: ['libmpi_abi.1.dylib', 'libmpi.12.dylib'],
  },
};

/**
 * Files to try in turn: `DEJA_DIT_MPI_LIBRARY` alone where it is set; else what lies beside the launchers on PATH, as in a virtual
 * environment, and what the system's loader finds.
 */
export function libraryCandidates(
  flavour: Launched['flavour'],
  env: Readonly<Record<string, string | undefined>> = process.env,
): string[] {
  const chosen = env['DEJA_DIT_MPI_LIBRARY'];
  if (chosen) return [chosen];
  const ofPlatform = names[process.platform === 'darwin' ? 'darwin' : 'linux'];
  const wanted = flavour ? ofPlatform[flavour] : [...ofPlatform.openmpi, ...ofPlatform.mpich];
  const beside = foldersBesideLaunchers(env['PATH'] ?? '').flatMap((folder) =>
    wanted.map((name) => path.join(folder, name)).filter((file) => existsSync(file)),
  );
  return [...new Set([...beside, ...wanted])];
}

function foldersBesideLaunchers(searched: string): string[] {
  const launchers = searched.split(path.delimiter).map((folder) => path.join(folder, 'mpirun'));
  return launchers
    .filter((file) => path.isAbsolute(file) && existsSync(file))
    .map((file) => path.join(path.dirname(realpathSync(file)), '../lib'))
    .filter((folder) => folder !== '/usr/lib' && folder !== '/lib');
}
