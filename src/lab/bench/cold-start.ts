/** From the shell to a picture: fresh processes of the command line, each drawing one step. */
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

export interface ColdStart {
  /** Milliseconds from the shell to the end of the first step. */
  firstStep: number;
  /** Milliseconds to a file of one step. */
  total: number;
  /** Bytes. */
  peakMemory: number;
}

/**
 * The middle one of three starts.
 * @param command the `deja-dit` script
 * @param model folder of a pipeline
 * @param flags further ones of `generate`
 */
export async function timeColdStart({
  command,
  model,
  flags: given = [],
}: {
  command: string;
  model: string;
  flags?: readonly string[];
}): Promise<ColdStart> {
  const out = path.join(os.tmpdir(), `deja-dit-bench-${process.pid}.png`);
  const flags = ['-m', model, '--steps', '1', '--json', '-o', out, ...given];
  const samples: ColdStart[] = [];
  try {
    for (let i = 0; i < 3; i++) {
      const { stdout } = await promisify(execFile)(process.execPath, [command, 'generate', 'red apple', ...flags]);
      samples.push((JSON.parse(stdout) as { process: ColdStart }).process);
    }
  } finally {
    await rm(out, { force: true });
  }
  return samples.sort((a, b) => a.firstStep - b.firstStep)[1]!;
}
