/**
 * Copies a folder that may be a stranger's: links in it are followed as long as they stay inside, so that nobody's other files come
 * along; whatever cannot be copied is found before the first byte is.
 */
import { copyFile, lstat, mkdir, readdir, realpath, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { DejaDitError } from '../errors/errors.ts';
import { kindOf } from './disk.ts';

export interface CopyItem {
  /** The file itself, behind all links. */
  source: string;
  /** Its place, from the top of the folder. */
  path: string;
}

/** Far above what a model has: links to folders with links to folders can multiply. */
const maxFiles = 100_000;

/**
 * The files below a folder.
 * @param args.except entries of the folder to leave out
 * @param args.linksMayLeadTo a further folder that links may lead into
 * @throws DejaDitError `INVALID_FILE` naming a link that leads out, or something that is neither file nor folder
 */
export async function listFiles(args: {
  folder: string;
  except: readonly string[];
  linksMayLeadTo?: string | undefined;
}): Promise<CopyItem[]> {
  const { folder, except, linksMayLeadTo } = args;
  const roots = [await realpath(folder)];
  if (linksMayLeadTo !== undefined) roots.push(await realpath(linksMayLeadTo).catch(() => linksMayLeadTo));
  const items: CopyItem[] = [];
  /** @param above folders on the way, as they really are: a link to one of them has no end */
  const walk = async (at: string, above: readonly string[]): Promise<void> => {
    for (const name of await readdir(at)) {
      const path = join(at, name);
      const place = relative(folder, path);
      if (except.includes(place)) continue;
      const bad = (reason: string) => new DejaDitError('INVALID_FILE', reason, { path });
      const source = await realpath(path).catch((cause: NodeJS.ErrnoException) => {
        throw bad(`is a link that leads nowhere (${cause.code}): remove it`);
      });
      if ((await lstat(path)).isSymbolicLink() && !roots.some((root) => isInside(source, root)))
        throw bad(`is a link out of the model's folder, to ${source}: put what it links to in its place, or remove it`);
      const found = await stat(source);
      if (found.isDirectory()) {
        if (above.includes(source)) throw bad('is a link to a folder that it is in: remove it');
        await walk(path, [...above, source]);
      } else if (found.isFile()) items.push({ source, path: place });
      else throw bad(`is ${kindOf(found)}: remove it`);
      if (items.length > maxFiles) throw bad(`is one of more than ${maxFiles} files of ${folder}`);
    }
  };
  await walk(folder, [roots[0]!]);
  return items;
}

/** Copies files into a folder, under their places. */
export async function copyFiles(items: readonly CopyItem[], to: string): Promise<void> {
  for (const { source, path } of items) {
    const target = join(to, path);
    await mkdir(dirname(target), { recursive: true });
    await copyFile(source, target);
  }
}

/**
 * Refuses to write a folder into another that is read.
 * @throws DejaDitError `INVALID_ARGUMENT`
 */
export async function requireOutside(folder: string, source: string): Promise<void> {
  const root = await realpath(source);
  let existing = resolve(folder);
  let rest = '';
  for (;;) {
    const real = await realpath(existing).catch(() => undefined);
    if (real !== undefined) {
      if (!isInside(join(real, rest), root)) return;
      throw new DejaDitError('INVALID_ARGUMENT', `is ${source}, or inside it, which is read: name another folder`, {
        path: folder,
      });
    }
    rest = join(relative(dirname(existing), existing), rest);
    existing = dirname(existing);
  }
}

function isInside(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}
