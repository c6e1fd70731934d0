/** The folder into which requests may have their pictures and videos written (`--output-dir`): nothing is written outside of it. */
import { mkdirSync, realpathSync } from 'node:fs';
import { realpath } from 'node:fs/promises';
import path from 'node:path';
import { DejaDitError } from '../errors/errors.ts';
import { writeFileAtomically } from '../files/replace-file.ts';
import { Problem } from './http/problem.ts';
import type { JobFile } from './jobs/job.ts';

export interface SaveOptions {
  /** Below the folder, or a path within it. Default: the folder itself. */
  folder?: string | null | undefined;
  /** Without the ending, which is the file's type. */
  name: string;
  /** The field that names the folder, for errors. */
  param: string;
}

export class Outputs {
  private readonly root: string;

  /** @throws DejaDitError INVALID_ARGUMENT if there can be no such folder */
  constructor(folder: string) {
    try {
      mkdirSync(folder, { recursive: true });
      this.root = realpathSync(folder);
    } catch (cause) {
      throw new DejaDitError('INVALID_ARGUMENT', `is no folder that can be written to: ${folder}`, {
        path: 'outputDir',
        cause,
      });
    }
  }

  /** @returns the path of the file. @throws Problem 403 for a folder outside of this one */
  async save({ type, bytes }: JobFile, { folder, name, param }: SaveOptions): Promise<string> {
    const wanted = path.resolve(this.root, folder ?? '.');
    const outside = new Problem(403, "is outside of the server's output folder", { param });
    if (!this.holds(wanted) || (folder ?? '').includes('\0')) throw outside;
    // What is there already may be a link to elsewhere.
    if (!this.holds(await nearest(wanted))) throw outside;
    const file = path.join(wanted, `${name}.${type.replace(/^\w+\//, '')}`);
    await writeFileAtomically(file, bytes);
    return file;
  }

  private holds(folder: string): boolean {
    return folder === this.root || folder.startsWith(this.root + path.sep);
  }
}

/** Where a folder is, or the last part of it that is there. */
async function nearest(folder: string): Promise<string> {
  try {
    return await realpath(folder);
  } catch {
    return nearest(path.dirname(folder));
  }
}
