/**
 * Joins the compiled files of the command line, and all of ours that they import, into a few: Node 20 takes about half a millisecond for every
 * module that it loads, and there are hundreds. Entry points keep their places; packages stay outside. Runs after tsc.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { build } from 'esbuild';

const dist = path.resolve(import.meta.dirname, '../dist');

/** Files that look for others beside them go on looking from where tsc has put them. */
const places = {
  name: 'places',
  setup: (build) =>
    build.onLoad({ filter: /\.js$/ }, async ({ path: file }) => {
      const text = await readFile(file, 'utf8');
      if (!text.includes('import.meta.url')) return undefined;
      const place = path.relative(path.join(dist, 'cli'), file).split(path.sep).join('/');
      return {
        contents: text.replaceAll('import.meta.url', `new URL(${JSON.stringify(place)}, import.meta.url).href`),
      };
    }),
};

await build({
  entryPoints: ['main', 'program'].map((name) => path.join(dist, 'cli', `${name}.js`)),
  outdir: path.join(dist, 'cli'),
  allowOverwrite: true,
  chunkNames: 'part-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  // Its paths lead to the sources.
  tsconfigRaw: '{}',
  logLevel: 'warning',
  plugins: [places],
});
