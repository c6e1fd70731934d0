/** What lies in `examples/`, run. That it is well-typed is checked in `docs.test.ts`. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import ts from 'typescript';
import { expect, it } from 'vitest';
import { Image } from '../src/images/image.ts';

const root = path.resolve(import.meta.dirname, '..');

it('draw.mjs draws', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'deja-dit-example-'));
  try {
    const script = path.join(root, 'examples/draw.mjs');
    const { stdout } = await promisify(execFile)(process.execPath, [script, 'blue butterfly', 'butterfly.png'], {
      cwd: folder,
    });
    expect(stdout).toMatch(/^28\/28 /m);
    expect((await stat(path.join(folder, 'butterfly.png'))).size).toBeGreaterThan(2000);
  } finally {
    await rm(folder, { recursive: true });
  }
});

it('server.ts answers with pictures, refuses in one line, and ends when asked to', async () => {
  // Not every Node runs TypeScript.
  const script = path.join(root, 'out', `server-${process.pid}.mjs`);
  const { outputText } = ts.transpileModule(await readFile(path.join(root, 'examples/server.ts'), 'utf8'), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  });
  await mkdir(path.dirname(script), { recursive: true });
  await writeFile(script, outputText);
  const server = spawn(process.execPath, [script], {
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(server, 'exit');
  try {
    const { value } = await createInterface({ input: server.stdout })[Symbol.asyncIterator]().next();
    const { origin } = new URL(value);
    const [one, two] = await Promise.all(
      ['red apple', 'pizza'].map((prompt) =>
        fetch(`${origin}/image?steps=2&seed=7&prompt=${encodeURIComponent(prompt)}`),
      ),
    );
    for (const answer of [one!, two!]) {
      expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'image/webp']);
      expect((await Image.load(new Uint8Array(await answer.arrayBuffer()))).width).toBe(128);
    }
    const refused = await fetch(`${origin}/image?prompt=x&steps=-1`);
    expect(refused.status).toBe(400);
    expect(await refused.text()).toMatch(/^numInferenceSteps: expected an integer/);
  } finally {
    server.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
    await rm(script);
  }
});
