/** Ctrl-C on the command line: ends at once with exit code 130, whatever is going on, and nothing half-written stays. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HubServer } from '../src/weights/hub/testing/hub-server.ts';

const root = path.resolve(import.meta.dirname, '..');
const main = path.join(root, 'dist/cli/main.js');

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-interrupt-'));
});
afterEach(() => rm(folder, { recursive: true }));

function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(process.execPath, [main, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Interrupts the command, and the processes it has started must be gone with it. */
async function interrupt(command: ChildProcess): Promise<number | null> {
  const engine = await childOf(command.pid!);
  command.kill('SIGINT');
  const [code] = (await once(command, 'exit')) as [number | null];
  expect(isRunning(engine)).toBe(false);
  return code;
}

async function childOf(pid: number): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  return Number(children.trim().split(' ')[0]);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** What the engine's threads have computed so far: seconds of processor time. */
async function used(command: ChildProcess): Promise<number> {
  try {
    const stat = await readFile(`/proc/${await childOf(command.pid!)}/stat`, 'utf8');
    const [user, system] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13);
    return (Number(user) + Number(system)) / 100;
  } catch {
    return 0;
  }
}

/** Waits until the engine's threads have computed for so long: seconds of processor time. */
async function computing(command: ChildProcess, seconds: number): Promise<void> {
  while ((await used(command)) < seconds) await new Promise((resolve) => setTimeout(resolve, 50));
}

describe.skipIf(process.platform !== 'linux')('Ctrl-C', () => {
  it.each([
    ['while it loads', ['generate', 'apple'], 0.3],
    ['inside a long step', ['generate', 'apple', '--size', '1024', '--steps', '4'], 8],
    ['while it quantises', ['quantize', '-t', 'svdq_int4_r32', '--no-disk-cache', '-o', 'small'], 3],
  ])('%s', async (_, args, seconds) => {
    const out = args.includes('-o') ? [] : ['-o', path.join(folder, 'never.png')];
    const command = start([...args.map((arg) => (arg === 'small' ? path.join(folder, arg) : arg)), ...out]);
    await computing(command, seconds);
    expect(await interrupt(command)).toBe(130);
    expect(await readdir(folder)).toEqual([]);
  });

  it('inside a decode', async () => {
    const out = path.join(folder, 'never.png');
    const command = start(['generate', 'apple', '--size', '768', '--steps', '2', '--cache', '-o', out]);
    // Two steps re-use nothing, and when the last one is over the cache says so; what follows is the decode.
    let said = '';
    for await (const text of command.stderr!) {
      said += text;
      if (said.includes('none of')) break;
    }
    await computing(command, (await used(command)) + 0.3);
    expect(await interrupt(command)).toBe(130);
    expect(await readdir(folder)).toEqual([]);
  });

  it('while it writes and does not answer: what it had begun goes with it', async () => {
    const command = start(['quantize', '-t', 'svdq_int4_r32_dq', '--no-disk-cache', '-o', path.join(folder, 'small')]);
    const begun = async () => (await readdir(folder, { withFileTypes: true })).some((entry) => entry.isDirectory());
    while (!(await begun())) await new Promise((resolve) => setTimeout(resolve, 20));
    const engine = await childOf(command.pid!);
    process.kill(engine, 'SIGSTOP');
    expect(await readdir(folder)).toEqual([expect.stringMatching(/^\.small\..*\.tmp$/)]);
    expect(await interrupt(command)).toBe(130);
    expect(await readdir(folder)).toEqual([]);
  });

  it('during a download, which goes on the next time', async () => {
    const weights = Buffer.alloc(5_000_000);
    const server = await HubServer.start('org/model', {
      'config.json': '{"_class_name": "FluxTransformer2DModel"}',
      'diffusion_pytorch_model.safetensors': weights,
    });
    try {
      server.fault = (file) => (file.endsWith('.safetensors') ? { hangAfter: 3_000_000 } : undefined);
      const command = start(['quantize', '-m', 'org/model', '-t', 'int8', '-o', path.join(folder, 'small')], {
        HF_ENDPOINT: server.url,
        HF_HOME: path.join(folder, 'hub'),
      });
      while (!server.requests.some(({ path: file }) => file.endsWith('.safetensors')))
        await new Promise((resolve) => setTimeout(resolve, 50));
      expect(await interrupt(command)).toBe(130);
      expect(await readdir(folder)).toEqual(['hub']);
    } finally {
      await server.stop();
    }
  });

  it('a second one does not wait, and a lost terminal ends it too', async () => {
    for (const [signal, code] of [
      ['SIGTERM', 143],
      ['SIGHUP', 129],
    ] as const) {
      const command = start(['generate', 'apple', '--steps', '5000', '-o', path.join(folder, 'never.png')]);
      await computing(command, 1);
      command.kill(signal);
      expect(await once(command, 'exit')).toEqual([code, null]);
    }
  });
});
