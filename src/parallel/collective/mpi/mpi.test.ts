/** Ranks under real launchers of MPI: what all transports do, and how they fail. Runs the built communication thread. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchedBy } from '../../../runtime/launched-by.ts';
import { bundle } from '../testing/bundle.ts';
import { launchersHere, mpiRun } from '../testing/mpi-run.ts';
import type { Outcome, Scenario } from '../testing/scenarios.ts';
import { interfaceOf } from './flavours.ts';
import type { Launcher } from './launchers.ts';

const dist = path.resolve(import.meta.dirname, '../../../../dist');
const launchers = await launchersHere();

let program: Awaited<ReturnType<typeof bundle>>;
beforeAll(async () => {
  program = await bundle('mpi-rank.ts');
});
afterAll(() => program[Symbol.dispose]());

interface Play {
  ranks: number;
  scenario: Scenario;
  /** With a process around each rank, as the commands have. */
  supervised?: boolean;
}

/** @returns how it ended on the ranks that said so, in their order */
async function play(launcher: Launcher, { ranks, scenario, supervised = false }: Play) {
  const join = path.join(dist, 'parallel/collective/mpi/join-mpi.js');
  const supervisor = supervised ? [path.join(dist, 'cli/supervise.js')] : [];
  const { code, stdout, stderr } = await mpiRun(launcher, {
    ranks,
    program: [process.execPath, program.file, join, scenario, ...supervisor],
  });
  const lines = stdout.split(/\r?\n/).filter((line) => line.startsWith('{'));
  const outcomes = lines.map((line) => JSON.parse(line) as Outcome & { transport: string });
  return { code, stderr, outcomes: outcomes.sort((a, b) => a.rank - b.rank) };
}

/** That no process of the ranks is left, once those that notice it have ended themselves. */
async function expectNoOrphans(): Promise<void> {
  const left = () =>
    promisify(execFile)('pgrep', ['-f', program.file]).then(
      ({ stdout }) => stdout,
      () => '',
    );
  await expect.poll(left, { timeout: 20_000 }).toBe('');
}

describe.each(launchers)('$flavour $version', (launcher) => {
  const library = { openmpi: /^Open MPI \d/, mpich: /^MPICH \d/ }[launcher.flavour];

  it.each([1, 2, 4])('%d ranks do what all transports do', async (ranks) => {
    const { code, outcomes, stderr } = await play(launcher, { ranks, scenario: 'conform' });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(outcomes.map(({ rank, error }) => ({ rank, error }))).toEqual(
      Array.from({ length: ranks }, (_, rank) => ({ rank, error: undefined })),
    );
    for (const { transport } of outcomes) expect(transport).toMatch(library);
  });

  it.each<[Scenario, RegExp, boolean?]>([
    ['disagree', /^rank 3 calls allReduce \(sum\) of 5 float32, where ranks 0, 1, 2 call .* of 4 float32/],
    ['excess', /^rank 3 sends 2 elements to rank \d, which expects 1/],
    ['giveUp', /^rank 3 gave up: no memory left$/],
    ['hang', /^rank 3 made no call within 500 ms of rank \d's barrier: hanging/],
    ['die', /^rank 3 died: it exited with code 3 before the job was over$/],
    ['stopped', /^rank 3 hangs: its process \d+ on \S+ has not answered for \d+ s$/],
    ['killed', /^rank 3 died: its process \d+ on \S+ has ended$/, true],
  ])('%s: an error names the rank on every survivor, and nothing is left', async (scenario, message, supervised) => {
    const { code, outcomes } = await play(launcher, { ranks: 4, scenario, supervised });
    expect(code).not.toBe(0);
    const survivors = outcomes.filter(({ rank }) => rank < 3);
    // MPICH's launcher ends all ranks as soon as one has ended itself: on a busy machine not all come to say why.
    const least = launcher.flavour === 'mpich' ? 1 : 3;
    expect(survivors.length).toBeGreaterThanOrEqual(least);
    for (const { error } of survivors) expect(error?.code).toBe('RANK_FAILED');
    for (const { error } of survivors) expect(error?.message).toMatch(message);
    await expectNoOrphans();
  });

  it('says it for ranks that compute and hear nothing', async () => {
    const { code, stderr, outcomes } = await play(launcher, { ranks: 2, scenario: 'deaf', supervised: true });
    expect(code).not.toBe(0);
    expect(outcomes).toEqual([]);
    expect(stderr).toMatch(/deja-dit: rank 0 of 2: rank 1 died: its process \d+ on \S+ has ended/);
    await expectNoOrphans();
  });
});

describe('what cannot be a job is explained', () => {
  const join = path.join(dist, 'parallel/collective/mpi/join-mpi.js');
  const errorOf = async (env: NodeJS.ProcessEnv) => {
    const options = { env: { ...process.env, ...env } };
    const run = promisify(execFile)(process.execPath, [program.file, join, 'conform'], options);
    return (await run.catch((error: { stderr: string }) => error)).stderr;
  };

  it('a process that no launcher has started', async () => {
    expect(await errorOf({})).toMatch(/no launcher of MPI started this process: use deja-dit launch, mpirun or srun/);
  });

  it("a program in between that has not passed on the descriptor of MPICH's launcher", async () => {
    const env = { PMI_RANK: '0', PMI_SIZE: '2', PMI_FD: '999' };
    expect(await errorOf(env)).toMatch(/through file descriptor 999, which a program in between \(npx.*-pmi-port/);
  });

  it('a library that does not load', async () => {
    const env = { OMPI_COMM_WORLD_RANK: '0', OMPI_COMM_WORLD_SIZE: '2', DEJA_DIT_MPI_LIBRARY: '/nowhere/libmpi.so' };
    expect(await errorOf(env)).toMatch(/no MPI library loads \(\/nowhere\/libmpi\.so: /);
  });

  it.runIf(launchers.length === 2)("a library that is not the launcher's", async () => {
    const [openmpi] = launchers;
    const env = { DEJA_DIT_MPI_LIBRARY: 'libmpich.so.12' };
    const { code, stderr } = await mpiRun(openmpi!, {
      ...{ ranks: 2, env },
      program: [process.execPath, program.file, join, 'conform'],
    });
    expect(code).not.toBe(0);
    expect(stderr).toMatch(
      /the launcher started 2 ranks, but MPICH [\d.]+ \(libmpich\.so\.12\) sees 1: use the mpirun/,
    );
  });
});

it('tells apart who launched a process', () => {
  expect(launchedBy({})).toBeUndefined();
  expect(
    launchedBy({
      OMPI_COMM_WORLD_RANK: '3',
      OMPI_COMM_WORLD_SIZE: '8',
      OMPI_COMM_WORLD_LOCAL_RANK: '1',
      OMPI_COMM_WORLD_LOCAL_SIZE: '2',
      PMIX_RANK: '3',
    }),
  ).toEqual({ flavour: 'openmpi', rank: 3, size: 8, localRank: 1, localSize: 2 });
  const hydra = { MPI_LOCALNRANKS: '2', MPI_LOCALRANKID: '1' };
  expect(launchedBy({ ...hydra, PMI_RANK: '1', PMI_SIZE: '2' })).toMatchObject({ flavour: 'mpich', rank: 1, size: 2 });
  expect(launchedBy({ ...hydra, PMI_PORT: 'host:1', PMI_ID: '1' })).toEqual({
    ...{ flavour: 'mpich', rank: 1, size: undefined },
    ...{ localRank: 1, localSize: 2 },
  });
  const slurm = { SLURM_STEP_NUM_TASKS: '6', SLURM_LOCALID: '0', SLURM_STEP_TASKS_PER_NODE: '2(x3)' };
  // A batch script is one process, however many tasks its job has.
  expect(launchedBy({ ...slurm, SLURM_PROCID: '0' })).toBeUndefined();
  expect(launchedBy({ ...slurm, PMIX_RANK: '4' })).toEqual({
    ...{ flavour: undefined, rank: 4, size: 6 },
    ...{ localRank: 0, localSize: 2 },
  });
});

it('knows the interface of a library by its file and symbols', () => {
  const none = () => undefined;
  expect(interfaceOf('/lib/libmpi_abi.so.1', none)).toMatchObject({ name: 'MPI-5', handle: 'intptr_t' });
  expect(interfaceOf('libmpich.so.12', none)).toMatchObject({ name: 'MPICH', handle: 'int' });
  const openmpi = interfaceOf('libmpi.so.40', (symbol) => BigInt(symbol.length));
  expect(openmpi).toMatchObject({ name: 'Open MPI', handle: 'intptr_t', constants: { BYTE: 13n } });
});
