/** The same transformer in Diffusers, in a Python process that computes only when asked, so that both sides take turns. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { DejaDitError } from '../../errors/errors.ts';
import type { BenchCase } from './cases.ts';

const script = fileURLToPath(new URL('../../../bench/diffusers_step.py', import.meta.url));

export interface PythonPeer {
  version: string;
  /** Milliseconds of each of `steps` steps. */
  time(steps: number): Promise<number[]>;
  close(): void;
}

/** @throws DejaDitError RUNTIME with Python's last line if torch or diffusers do not load */
export async function startPython(
  python: string,
  { model, imageEdge, textTokens, compiledBfloat16 = false }: BenchCase & { compiledBfloat16?: boolean },
  threads: number,
): Promise<PythonPeer> {
  const child = spawn(python, [script], { stdio: ['pipe', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  const failed = new Promise<never>((_, reject) => {
    const fail = (reason: string) => reject(new DejaDitError('RUNTIME', `${python}: ${reason}`, { path: 'against' }));
    child.on('error', (error) => fail(error.message));
    child.on('exit', () => fail(errors.trim().split('\n').at(-1) || 'ended early'));
  });
  failed.catch(() => {});
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (request: object): Promise<Record<string, unknown>> => {
    child.stdin.write(`${JSON.stringify(request)}\n`);
    const { value } = await Promise.race([lines.next(), failed]);
    return JSON.parse(value as string);
  };
  const { torch } = await ask({ model, imageEdge, textTokens, threads, compiledBfloat16 });
  return {
    version: `PyTorch ${torch}`,
    time: async (steps) => (await ask({ steps })).times as number[],
    close: () => child.stdin.end(),
  };
}
