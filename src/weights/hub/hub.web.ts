/** A page fetches nothing here: what it reads it has mounted before (`web/sources`). */
import { DejaDitError } from '../../errors/errors.ts';
import { isFolder } from '../../files/files.ts';

export interface ResolveOptions {
  allowPatterns?: readonly string[] | undefined;
  signal?: AbortSignal | undefined;
}

/** The folder itself. @throws DejaDitError `NOT_FOUND` if nothing is mounted there */
export async function resolveModel(path: string, _options?: ResolveOptions): Promise<string> {
  if (await isFolder(path)) return path;
  throw new DejaDitError('NOT_FOUND', 'is not among the files that this page has', { path });
}
