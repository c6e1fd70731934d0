/** Programs of tests that threads and processes run: they cannot load TypeScript. */
import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';

const root = path.resolve(import.meta.dirname, '../../../..');

/** @param entry beside this file @returns the bundle, which disposing removes; it lies where packages are found */
export async function bundle(entry: string): Promise<Disposable & { file: string }> {
  const folder = mkdtempSync(path.join(root, 'node_modules/.bundle-'));
  const file = path.join(folder, entry.replace(/\.ts$/, '.mjs'));
  await build({
    entryPoints: [path.join(import.meta.dirname, entry)],
    outfile: file,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'error',
  });
  return { file, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}
