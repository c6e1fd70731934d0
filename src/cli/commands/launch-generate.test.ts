/**
 * The whole of it under real launchers: every rank loads, all compute one picture, the first writes and tells. How ranks fail is tested beside the
 * launchers. Runs the built command.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchersHere, mpiRun } from '../../parallel/collective/testing/mpi-run.ts';

const main = path.resolve(import.meta.dirname, '../../../dist/cli/main.js');
const request = ['generate', 'red apple', '--size', '32x32', '--steps', '2', '--seed', '7'];
const launchers = await launchersHere();

let folder: string;
let alone: Buffer;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-launch-'));
  await promisify(execFile)(process.execPath, [main, ...request, '--out', path.join(folder, 'alone.png')]);
  alone = await readFile(path.join(folder, 'alone.png'));
}, 60_000);
afterAll(() => rm(folder, { recursive: true }));

describe.each(launchers)('$flavour $version', (launcher) => {
  const { flavour } = launcher;

  it('deja-dit launch: the picture of one process, told of once', async () => {
    const out = path.join(folder, `${flavour}-launched.png`);
    const command = [main, 'launch', '--nproc', '2', '--mpi', flavour, '--', ...request, '--out', out];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, command, {
      env: { ...process.env, NO_COLOR: '1' },
    });
    expect(alone.equals(await readFile(out))).toBe(true);
    expect(`${stdout}${stderr}`.match(/seed 7/g)).toHaveLength(1);
  }, 120_000);

  it.each([
    [4, 'ulysses=4'],
    [4, 'cfg=2,ulysses=2'],
  ])(
    '%d ranks by hand, %s: the same picture',
    async (ranks, parallel) => {
      const out = path.join(folder, `${flavour}-${parallel}.png`);
      const program = [process.execPath, main, ...request, '--parallel', parallel, '--out', out];
      const { code, stderr } = await mpiRun(launcher, { ranks, program });
      expect({ code, stderr }).toMatchObject({ code: 0 });
      expect(alone.equals(await readFile(out))).toBe(true);
    },
    120_000,
  );
});
