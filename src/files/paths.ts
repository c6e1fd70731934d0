/** Paths, taken apart and put together where the disk may be none: slashes join, and on Windows backslashes part too. */

const isWindows = (globalThis as { process?: { platform?: string } }).process?.platform === 'win32';

/** `joinPath('models/x', 'vae', 'config.json')`. The folder may be `''`, which is the place where one is. */
export function joinPath(folder: string, ...names: readonly string[]): string {
  const parts = folder === '' ? names : [folder.replace(isWindows ? /(?<=.)[\\/]+$/ : /(?<=.)\/+$/, ''), ...names];
  return parts.join('/').replace(/^\/\/(?=.)/, '/');
}

/** The folder that something is in; `.` for a bare name. */
export function parentPath(path: string): string {
  const end = lastSeparator(path);
  return end < 0 ? '.' : path.slice(0, Math.max(end, 1));
}

/** The name at the end of a path. */
export function fileName(path: string): string {
  return path.slice(lastSeparator(path) + 1);
}

/** `.png`, in lower case; empty if the name has no such end. */
export function extension(path: string): string {
  return /(?<=.)\.[^.]*$/.exec(fileName(path))?.[0].toLowerCase() ?? '';
}

function lastSeparator(path: string): number {
  return Math.max(path.lastIndexOf('/'), isWindows ? path.lastIndexOf('\\') : -1);
}
