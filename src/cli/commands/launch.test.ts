/** `deja-dit launch`: the command lines that it gives to launchers. That these work is tested beside the launchers. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { launchLine } from '../../parallel/collective/mpi/launchers.ts';

const main = path.resolve(import.meta.dirname, '../../../dist/cli/main.js');

/** @returns the line that is printed on standard error */
async function refused(...args: string[]): Promise<string> {
  const run = promisify(execFile)(process.execPath, [main, 'launch', ...args]);
  return run.then(
    () => '',
    ({ stderr }: { stderr: string }) => stderr,
  );
}

const root = process.getuid?.() === 0 ? ['--allow-run-as-root'] : [];
const openmpi = { flavour: 'openmpi', command: 'mpirun', version: '4.1.4' } as const;
const mpich = { flavour: 'mpich', command: 'mpiexec', version: '4.0.2' } as const;
const program = ['deja-dit', 'generate', 'apple'];

it('spreads ranks over hosts, each of which may use all its cores', () => {
  const line = launchLine(openmpi, { ranks: 5, hosts: ['a', 'b'], program }).join(' ');
  expect(line).toContain(['mpirun --quiet --oversubscribe --bind-to none', ...root, '--host a:3,b:2'].join(' '));
  expect(line).toMatch(/-np 5 deja-dit generate apple$/);
  expect(launchLine(mpich, { ranks: 2, hosts: ['a', 'b'], program })).toEqual([
    'mpiexec',
    '-hosts',
    'a:1,b:1',
    '-n',
    '2',
    ...program,
  ]);
});

it('speaks to each version in its words', () => {
  const newer = launchLine({ ...openmpi, version: '5.0.11' }, { ranks: 2, hostfile: 'hosts', program });
  expect(newer.slice(0, 5)).toEqual(['mpirun', '--map-by', ':OVERSUBSCRIBE', '--bind-to', 'none']);
  expect(newer.join(' ')).toContain('--hostfile hosts');
  expect(launchLine(mpich, { ranks: 2, hostfile: 'hosts', program })).toContain('-f');
});

it('refuses what cannot be launched', async () => {
  expect(await refused('--nproc', '2', 'inspect')).toMatch(/launch runs generate on several ranks, not 'inspect'/);
  expect(await refused('--nproc', '0', 'generate')).toMatch(/--nproc/);
  expect(await refused('--nproc', '2', '--mpi', 'other', 'generate')).toMatch(/openmpi, mpich/);
  const both = { ranks: 4, hosts: ['a'], hostfile: 'hosts', program };
  expect(() => launchLine(openmpi, both)).toThrow(/--hostfile: has no effect beside --hosts/);
  expect(() => launchLine(openmpi, { ranks: 1, hosts: ['a', 'b'], program })).toThrow(/--hosts: 2 hosts for 1 ranks/);
});
