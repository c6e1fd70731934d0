/** Text encoders and autoencoder on ranks that are processes: the picture that ranks which are threads draw. Runs the built command. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Image } from '../images/image.ts';
import { launchersHere, mpiRun } from './collective/testing/mpi-run.ts';

const main = path.resolve(import.meta.dirname, '../../dist/cli/main.js');
// Four tiles of 128 pixels.
const request = [
  'generate',
  'red apple',
  '--size',
  '192x160',
  '--steps',
  '1',
  '--seed',
  '7',
  '--parallel',
  'ulysses=2',
];
const extra = ['--parallel-vae', '--parallel-text-encoder'];
const launchers = await launchersHere();

let folder: string;
let threads: Image;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-mpi-pipeline-'));
  const out = path.join(folder, 'threads.png');
  await promisify(execFile)(process.execPath, [main, ...request, ...extra, '--out', out]);
  threads = await Image.load(out);
}, 120_000);
afterAll(() => rm(folder, { recursive: true }));

describe.each(launchers)('$flavour $version', (launcher) => {
  const run = (more: readonly string[]) =>
    mpiRun(launcher, { ranks: 2, program: [process.execPath, main, ...request, ...extra, ...more] });

  it('draws it in tiles, shared out', async () => {
    const out = path.join(folder, `${launcher.flavour}.png`);
    const { code, stderr } = await run(['--out', out]);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    const { data } = await Image.load(out);
    // Kernels of other numbers of threads add in another order, which may round a level up or down.
    expect(Math.max(...data.map((value, i) => Math.abs(value - threads.data[i]!)))).toBeLessThanOrEqual(1);
  }, 120_000);

  it('refuses previews, which one rank alone would decode', async () => {
    const { code, stderr } = await run(['--preview', '--out', path.join(folder, 'none.png')]);
    expect(code).not.toBe(0);
    expect(stderr).toContain('--preview: all ranks decode together');
  }, 120_000);
});
