/**
 * Ends busy processes and disposes busy backends again and again: `node tests/lifecycle/repeat.js [aborts] [disposals]`, by default
 * 50 processes and 100 disposals. Needs `npm run build`. Prints a line per kind, and fails if anything was not as it should be.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const child = fileURLToPath(new URL('child.js', import.meta.url));

/** @returns exit code or signal, and the last line printed */
export function run(...parameters) {
  const { status, signal, stdout } = spawnSync(process.execPath, [child, ...parameters.map(String)], {
    encoding: 'utf8',
    timeout: 300_000,
  });
  return { end: signal ?? status, output: stdout.trim().split('\n').at(-1) ?? '' };
}

function main([aborts = 50, disposals = 100]) {
  let failed = false;
  const say = (what, { good, of, got }) => {
    console.log(`${what}: ${good} of ${of} as they should${good === of ? '' : `; ${got}`}`);
    failed ||= good !== of;
  };
  const codes = { exit: 7, throw: 1 };
  for (const [how, code] of Object.entries(codes)) {
    const of = Math.ceil(aborts / 2);
    const ends = Array.from({ length: of }, (_, i) => run(how, 'worker', 1, (i * 53) % 900).end);
    say(`${how} while the worker computes`, {
      good: ends.filter((end) => end === code).length,
      of,
      got: `ended with ${[...new Set(ends)]}`,
    });
  }
  for (const [how, name] of [
    ['terminate', 'worker'],
    ['dispose', 'worker'],
    ['dispose', 'cpu'],
    ['dispose', 'wasm'],
    ['pipeline', 'worker'],
    ['pipeline', 'cpu'],
  ]) {
    const of = how === 'terminate' ? Number(aborts) : Number(disposals);
    const { end, output } = run(how, name, of);
    const ends = output.startsWith('{') ? JSON.parse(output) : {};
    const good = end === 0 ? (ends[how === 'terminate' ? 'RUNTIME' : 'DISPOSED'] ?? 0) : 0;
    say(`${how} on ${name} during a request`, { good, of, got: `ended with ${end}: ${output}` });
  }
  process.exitCode = failed ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
