/**
 * Long use of one process, as a curve: `node bench/soak/soak.js [requests] [sizes]` (1000 and 200). Needs `npm run build`. Prints what
 * it found, writes `docs/images/soak.svg`, and fails where a bound is exceeded:
 *
 * - after every request no handle is there but those of the weights, and programs lie within their limit; at the end nothing is left;
 * - resident memory does not grow: in the second half of the requests it stays near the most of the first half;
 * - all these sizes take no more than the process with its weights and twice the limit of the programs.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createBackend, DiffusionPipeline, ProgramCache, setWarningHandler } from '../../dist/index.js';
import { curve } from './curve.js';
import { soak } from './requests.js';

const MB = 1e6;
const [requests = 1000, sizes = 200] = process.argv.slice(2).map(Number);
/** Below what all these sizes would take, so that the limit is seen to hold. */
const maxBytes = 320 * 2 ** 20;
/** By what the second half may exceed the first: what an allocator keeps varies with the order of requests. */
const allowedGrowth = 1.1;

// Hundreds of short requests have hints for their caches; only the limit's warning is about the process.
setWarningHandler((message) => message.startsWith('maxProgramBytes') && console.error(message));
const begin = performance.now();
const backend = await createBackend({ threads: 2 });
const points = [];
const { ends, stats } = await soak({
  DiffusionPipeline,
  ProgramCache,
  backend,
  model: fileURLToPath(new URL('../../models/emoji-flux', import.meta.url)),
  requests,
  sizes,
  maxBytes,
  onPoint: (point) => points.push({ ...point, resident: process.memoryUsage.rss() }),
});
const left = { ...backend.live };
await backend.dispose();

const half = Math.floor(requests / 2);
const most = (name, from, to) => Math.max(...points.slice(from, to).map((point) => point[name]));
const start = points[0].resident;
const [first, second, grid] = [most('resident', 0, half), most('resident', half, requests), most('resident', requests)];
const mb = (bytes) => `${(bytes / MB).toFixed(0)} MB`;
const seconds = ((performance.now() - begin) / 1000).toFixed(0);
console.log(`${requests} requests and ${sizes} sizes in ${seconds} s: ${JSON.stringify(ends)}`);
console.log(`programs: ${JSON.stringify(stats)}`);

let failed = false;
function bound(what, value, limit, print = String) {
  const holds = value <= limit;
  failed ||= !holds;
  console.log(`${holds ? 'ok  ' : 'FAIL'} ${what}: ${print(value)}, at most ${print(limit)}`);
}
bound('handles left after any request', most('handles', 0), 0);
bound('handles, bytes and programs left at the end', left.tensors + left.bytes + left.programs, 0);
bound('programs, by estimate', most('programBytes', 0), maxBytes, mb);
bound(`resident memory of requests ${half + 1} to ${requests}`, second, allowedGrowth * first, mb);
bound(`resident memory of ${sizes} sizes`, grid, start + 2 * maxBytes, mb);
process.exitCode = failed ? 1 : 0;

mkdirSync(new URL('../../docs/images/', import.meta.url), { recursive: true });
writeFileSync(
  new URL('../../docs/images/soak.svg', import.meta.url),
  curve({
    title: 'MB after each request: resident memory (blue), programs by estimate (orange) and their limit (dotted)',
    lines: [
      { colour: '#06c', values: points.map(({ resident }) => resident / MB) },
      { colour: '#c60', values: points.map(({ programBytes }) => programBytes / MB) },
    ],
    limit: { colour: '#c60', value: maxBytes / MB },
    parts: [
      { from: 0, label: `${requests} requests of mixed sizes, caches and aborts` },
      { from: requests, label: `${sizes} sizes` },
    ],
  }),
);
