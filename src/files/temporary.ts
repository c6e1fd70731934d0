/**
 * Names of unfinished files and folders, which say whose they are: so that what a killed process has left can be told from what a
 * running one still writes, and be cleared away.
 */
import { randomUUID } from 'node:crypto';
import { readdir, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';

const host = () => hostname().replace(/[^\w.-]/g, '_');
const ending = '.deja-dit.tmp';

/** What a name says of its owner, unlike every other of this process. */
export function ownerMark(): string {
  return `${host()}-${process.pid}-${randomUUID().slice(0, 8)}`;
}

let announce: (path: string) => void = () => {};

/** Tells every unfinished file's absolute path before it is created, to whoever outlives this process and can remove it. */
export function announceTemporaries(to: (path: string) => void): void {
  announce = to;
}

/** A name beside `path` for what is to become `path`. Hidden, since what is not complete is nobody's business. */
export function temporaryPath(path: string): string {
  const temporary = join(dirname(path), `.${basename(path).slice(0, 100)}.${ownerMark()}${ending}`);
  announce(resolve(temporary));
  return temporary;
}

/**
 * Whether the process that an `ownerMark` names is gone. Only this machine's can be known.
 * @param path what has the mark in its name
 */
export async function isOwnerGone(mark: string, path: string): Promise<boolean> {
  const [, where, pid] = /^(.+)-(\d+)-[0-9a-f]{8}$/.exec(mark) ?? [];
  if (where !== host()) return false;
  if (Number(pid) !== process.pid) return !isRunning(Number(pid));
  // In containers every run may have the same number; what is older than this one is of another.
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && found.mtimeMs < performance.timeOrigin - 1000;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0); // signal 0 only asks
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

const cleared = new Set<string>();

/** Removes what killed runs have left unfinished in a folder; looks once per process. */
export async function clearAbandoned(folder: string): Promise<void> {
  const at = resolve(folder);
  if (cleared.has(at)) return;
  cleared.add(at);
  for (const name of await readdir(at).catch(() => [])) {
    const mark = name.startsWith('.') && name.endsWith(ending) ? name.slice(0, -ending.length) : undefined;
    // The owner's host may have dots of its own, and so may the name before it: the mark is told by its end.
    const start = mark?.lastIndexOf(`.${host()}-`) ?? -1;
    if (mark === undefined || start < 0) continue;
    const path = join(at, name);
    if (await isOwnerGone(mark.slice(start + 1), path))
      await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}
