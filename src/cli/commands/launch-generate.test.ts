/**
 * The whole of it under real launchers: every rank loads, all compute one picture, the first writes and tells; programs of one's own do the same; and
 * a rank that is killed on the way ends them all. How transports fail is tested beside the launchers. Runs the built command.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Image } from '../../images/image.ts';
import { psnr } from '../../metrics/pixel-errors.ts';
import type { Launcher } from '../../parallel/collective/mpi/launchers.ts';
import { launchersHere, mpiRun } from '../../parallel/collective/testing/mpi-run.ts';
import type { ParallelismOptions } from '../../parallel/config/parallelism-config.ts';
import type { RanksReport } from '../../runtime/backend.ts';

const dist = path.resolve(import.meta.dirname, '../../../dist');
const main = path.join(dist, 'cli/main.js');
const request = ['generate', 'red apple', '--size', '32x32', '--steps', '4', '--seed', '7'];
const cached = ['--cache', '--Fn', '1', '--max-warmup-steps', '1', '--residual-diff-threshold', '0.6'];
const launchers = await launchersHere();

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-launch-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** What one process draws under such flags, once. */
const pictures = new Map<string, Promise<string>>();
function alone(flags: readonly string[]): Promise<string> {
  const key = flags.join(' ');
  let picture = pictures.get(key);
  if (!picture) {
    const file = path.join(folder, `alone-${pictures.size}.png`);
    const run = promisify(execFile)(process.execPath, [main, ...request, ...flags, '--out', file]);
    picture = run.then(() => file);
    pictures.set(key, picture);
  }
  return picture;
}

describe.each(launchers)('$flavour $version', (launcher) => {
  const { flavour } = launcher;
  const launched = (ranks: number, flags: readonly string[]) =>
    [main, 'launch', '--nproc', `${ranks}`, '--mpi', flavour, '--', ...request, ...flags] as const;

  it.each<[number, string, string[], number]>([
    [2, 'ulysses=2', [], Number.POSITIVE_INFINITY],
    [2, 'tp=2', [], 60],
    [2, 'cfg=2', [...cached, '--layerwise-offload'], 60],
  ])(
    'deja-dit launch: %d ranks, %s %j: the picture of one process, told of once',
    async (ranks, parallel, flags, least) => {
      const expected = await alone(flags);
      const out = path.join(folder, `${flavour}-${parallel}.png`);
      const command = launched(ranks, ['--parallel', parallel, ...flags, '--out', out]);
      const { stdout, stderr } = await promisify(execFile)(process.execPath, command, {
        env: { ...process.env, NO_COLOR: '1' },
      });
      expect(psnr(await Image.load(expected), await Image.load(out))).toBeGreaterThanOrEqual(least);
      const lines = `${stdout}${stderr}`.trim().split(/\r?\n/);
      expect(lines.filter((line) => line.includes('seed 7'))).toHaveLength(1);
    },
    240_000,
  );

  it('by hand: the same picture', async () => {
    const out = path.join(folder, `${flavour}-by-hand.png`);
    const program = [process.execPath, main, ...request, '--parallel', 'ulysses=4', '--out', out];
    const { code, stderr } = await mpiRun(launcher, { ranks: 4, program });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(psnr(await Image.load(await alone([])), await Image.load(out))).toBe(Number.POSITIVE_INFINITY);
  }, 240_000);

  it('a program of one’s own, with several schemes, one after the other', async () => {
    const [mixed, branches, narrowed] = await reports(launcher, 4, {
      schemes: [
        { ulyssesSize: 2, tpSize: 2 },
        { cfgSize: 2, ulyssesSize: 2 },
        { ulyssesSize: 4, ulyssesFloat8: true },
      ],
    });
    const [exact] = (await soloReports({ schemes: [null] })) as [Report];
    for (const { calls } of [mixed!, branches!]) expect(decisions(calls)).toEqual(decisions(exact.calls));
    expect(exact.calls.map(({ action }) => action)).toContain('reuse');
    expect(error(mixed!, exact)).toBeLessThan(1e-5);
    expect(error(branches!, exact)).toBeLessThan(1e-5);
    expect(error(narrowed!, exact)).toBeLessThan(0.1);
    expect(error(narrowed!, exact)).toBeGreaterThan(1e-4);
    expect(narrowed!.ranks!.tag).toBe('Ulysses4_F8');

    // Of the other branch's calls the result, and where they are compared the difference and the products of what is remembered.
    const elements = exact.latents.length;
    let computed = 0;
    let floats = 0;
    for (const { branch, action, diff } of branches!.calls) {
      if (branch === 'cond') continue;
      floats += elements;
      if (diff !== null) floats += 1 + (computed + 1) ** 2;
      if (action === 'compute') computed++;
    }
    expect(branches!.ranks!.collectives['broadcast']!.bytes).toBe(4 * floats);
  }, 240_000);

  // One process with another number of threads is off as far: a last bit makes activations fall to another side of a level, of 127.
  it('a program of one’s own, with weights in 8 bits: what ranks that are threads compute', async () => {
    const schemes = [{ ulyssesSize: 2 }, { tpSize: 2 }];
    const quantType = 'int8_per_row';
    const [exact, ...threads] = await soloReports({ schemes: [null, ...schemes], quantType });
    const processes = await reports(launcher, 2, { schemes, quantType });
    expect(processes).toHaveLength(schemes.length);
    for (const [i, process] of processes.entries()) {
      expect(decisions(process.calls)).toEqual(decisions(threads[i]!.calls));
      expect(error(process, threads[i]!)).toBeLessThan(1e-5);
      expect(error(process, exact!)).toBeLessThan(0.1);
      expect(process.ranks!.transport).not.toBe(threads[i]!.ranks!.transport);
    }
  }, 240_000);

  it('a rank that is killed on the way: an error names it, and nothing is left', async () => {
    const own = path.join(folder, `${flavour}-killed`);
    await mkdir(own);
    const out = path.join(own, 'never.png');
    const child = spawn(process.execPath, launched(2, ['--steps', '1000', '--out', out]), {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const said = Promise.all([text(child.stdout), text(child.stderr)]);
    const ended = once(child, 'close');
    // It has joined the others, which the first step begins with.
    const find = () => rankProcess(out, 1);
    await expect.poll(find, { timeout: 60_000 }).toBeDefined();
    process.kill(find()!, 'SIGKILL');
    const [code] = await ended;
    expect(code).not.toBe(0);
    expect((await said).join('')).toMatch(/rank 1 (of 2 was ended by SIGKILL|died)/);
    await expect.poll(() => processesOf(out), { timeout: 20_000 }).toEqual([]);
    expect(await readdir(own)).toEqual([]);
  }, 240_000);
});

interface Report {
  latents: number[];
  calls: { branch: string; action: string; diff: number | null }[];
  ranks: RanksReport | null;
}

interface OwnProgram {
  schemes: readonly (ParallelismOptions | null)[];
  quantType?: string | undefined;
}

/** Draws under one scheme after the other; the first rank prints what came of it. */
async function ownProgram(given: OwnProgram): Promise<string[]> {
  const file = path.join(folder, 'program.mjs');
  if (!existsSync(file))
    await writeFile(
      file,
      `import { bundledModel, DiffusionPipeline, enableCache, quantize, summary } from ${JSON.stringify(path.join(dist, 'index.js'))};
       const { schemes, quantType } = JSON.parse(process.argv[2]);
       const cacheConfig = { Fn: 1, maxWarmupSteps: 1, residualDiffThreshold: 0.48 };
       const size = { width: 32, height: 32, numInferenceSteps: 5, outputType: 'latent' };
       const guidance = { negativePrompt: 'blue', trueCfgScale: 3 };
       const pipe = await DiffusionPipeline.fromPretrained(bundledModel());
       if (quantType) await quantize(pipe, { quantType });
       const { OMPI_COMM_WORLD_RANK, PMI_RANK = OMPI_COMM_WORLD_RANK } = process.env;
       const reports = [];
       for (const parallelismConfig of schemes) {
         enableCache(pipe, { cacheConfig, parallelismConfig });
         const result = await pipe.generate({ prompt: 'red apple', seed: 7, ...size, ...guidance });
         const calls = result.summary[0].calls.map(({ branch, action, diff }) => ({ branch, action, diff }));
         const { ranks } = summary(pipe, { logging: false })[0];
         reports.push({ latents: [...result.latents.f32], calls, ranks });
       }
       if ((PMI_RANK ?? '0') === '0') console.log(JSON.stringify(reports));
       await pipe.dispose();
       await pipe.programs.backend.dispose();`,
    );
  return [process.execPath, file, JSON.stringify(given)];
}

/** What it prints on ranks, once. */
async function reports(launcher: Launcher, ranks: number, given: OwnProgram): Promise<Report[]> {
  const { code, stdout, stderr } = await mpiRun(launcher, { ranks, program: await ownProgram(given) });
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return reportsIn(stdout);
}

function reportsIn(stdout: string): Report[] {
  const [line, ...others] = stdout.split(/\r?\n/).filter((line) => line.startsWith('['));
  expect(others).toEqual([]);
  return JSON.parse(line!);
}

/** What it prints as one process, whose ranks are threads, once. */
const solo = new Map<string, Promise<Report[]>>();
function soloReports(given: OwnProgram): Promise<Report[]> {
  const key = JSON.stringify(given);
  let found = solo.get(key);
  if (!found) {
    found = ownProgram(given)
      .then(([command, ...args]) => promisify(execFile)(command!, args))
      .then(({ stdout }) => reportsIn(stdout));
    solo.set(key, found);
  }
  return found;
}

const decisions = (calls: Report['calls']) => calls.map(({ branch, action }) => [branch, action]);

/** Of the largest number. */
function error({ latents }: Report, expected: Report): number {
  const largest = (values: readonly number[]) => Math.max(...values.map(Math.abs));
  return largest(latents.map((value, i) => value - expected.latents[i]!)) / largest(expected.latents);
}

/** Processes that were given a word on their command line. */
function processesOf(word: string): number[] {
  return readdirSync('/proc').flatMap((entry) => {
    const id = Number(entry);
    return Number.isInteger(id) && readProcess(id, 'cmdline').split('\0').includes(word) ? [id] : [];
  });
}

/** The process that computes for a rank, once it has loaded its MPI. */
function rankProcess(word: string, rank: number): number | undefined {
  const isRank = new RegExp(`^(OMPI_COMM_WORLD_RANK|PMI_RANK)=${rank}$`, 'm');
  return processesOf(word).find(
    (id) =>
      isRank.test(readProcess(id, 'environ').replaceAll('\0', '\n')) &&
      /lib(mpi|mpich)\.so/.test(readProcess(id, 'maps')),
  );
}

function readProcess(id: number, name: string): string {
  try {
    return readFileSync(`/proc/${id}/${name}`, 'utf8');
  } catch {
    return '';
  }
}
