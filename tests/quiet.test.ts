/** A run makes no traffic and leaves no traces: no name looked up, no address called, no file but those that were asked for. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');
const run = promisify(execFile);

/** What a look-up opens or calls: the resolver's files, and any address that is not on this machine's own sockets. */
const lookUp = /"\/etc\/(resolv\.conf|hosts|nsswitch\.conf)"|sa_family=AF_INET6?/;

/** Whether system calls can be watched here. */
function canTrace(): boolean {
  try {
    execFileSync('strace', ['-f', '-o', '/dev/null', process.execPath, '-e', '0'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
const traced = canTrace();
if (!traced) console.warn('strace does not run here, so look-ups are not watched (apt-get install strace); files are');

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-quiet-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Draws with a home and a temporary folder of its own. */
async function draw(name: string, { script, env = {} }: { script: string; env?: NodeJS.ProcessEnv }) {
  const [home, temporary, trace] = ['home', 'tmp', 'trace'].map((part) => path.join(folder, name, part)) as [
    string,
    string,
    string,
  ];
  await mkdir(home, { recursive: true });
  await mkdir(temporary);
  const command = [process.execPath, '--input-type=module', '-e', script];
  const [program, ...args] = traced
    ? ['strace', '-f', '-e', 'trace=network,open,openat', '-o', trace, ...command]
    : command;
  // Under CI ONNX Runtime is quiet of its own accord, which would prove nothing.
  const quiet = { CI: undefined, ORT_DISABLE_TELEMETRY: undefined, XDG_CACHE_HOME: undefined, HF_HOME: undefined };
  await run(program!, args, {
    cwd: root,
    env: { ...process.env, ...quiet, HOME: home, TMPDIR: temporary, ...env },
    maxBuffer: 1 << 26,
  });
  const calls = traced ? (await readFile(trace, 'utf8')).split('\n') : [];
  const logs = calls.filter((call) => call.includes('mat-debug'));
  return {
    home: await readdir(home),
    temporary: await readdir(temporary),
    lookUps: calls.filter((call) => lookUp.test(call)),
    logs,
  };
}

const script = (options: string) => `
  import { bundledModel, DiffusionPipeline } from 'deja-dit';
  const pipe = await DiffusionPipeline.fromPretrained(bundledModel(), ${options});
  await pipe.generate({ prompt: 'red apple', numInferenceSteps: 2 });
  // What is sent or written is sent a little later.
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await pipe.dispose();
  await pipe.programs.backend.dispose();
`;

describe('a run', () => {
  it.each([
    ['cpu', '{}'],
    ['worker', '{ worker: true }'],
    ['wasm', "{ backend: 'wasm' }"],
  ])('on %s looks nothing up and writes nothing', async (name, options) => {
    expect(await draw(name, { script: script(options) })).toEqual({ home: [], temporary: [], lookUps: [], logs: [] });
  });

  it('would be caught if it did', async () => {
    const { home } = await draw('telemetry', { script: script('{}'), env: { ORT_DISABLE_TELEMETRY: '0' } });
    expect(home).toEqual(['.cache']);
  });
});
