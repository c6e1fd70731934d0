/**
 * Long use of one process, as a curve: `node bench/soak.js [requests] [sizes]` (1000 and 200). Needs `npm run build`.
 *
 * First requests of mixed sizes and lengths, with and without a cache, every seventh aborted on its way; then one of every size of a
 * grid. After each, what the backend holds for the process and the process's resident memory are noted. Whatever of the former is
 * left when the pipeline is disposed is an error. Writes `docs/images/soak.svg`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { createBackend, DiffusionPipeline, disableCache, enableCache, ProgramCache } from '../dist/index.js';

const [requests = 1000, sizes = 200] = process.argv.slice(2).map(Number);
/** Below what all these sizes would take, so that the limit is seen to hold. */
const maxBytes = 192 * 2 ** 20;

const backend = await createBackend({ threads: 1 });
const programs = new ProgramCache(backend, { maxBytes });
const pipe = await DiffusionPipeline.fromPretrained(new URL('../models/emoji-flux', import.meta.url).pathname, {
  programs,
});
const weights = { ...backend.live };

/** After every request: resident memory and the programs' estimate in MB, and handles beside the weights'. */
const points = [];
function note() {
  const { tensors } = backend.live;
  points.push({
    rss: process.memoryUsage.rss() / 1e6,
    programs: programs.stats.bytes / 1e6,
    left: tensors - weights.tensors,
  });
}

const caches = [
  undefined,
  { cacheConfig: { maxWarmupSteps: 1, residualDiffThreshold: 0.5 } },
  { cacheConfig: { maxWarmupSteps: 1, residualDiffThreshold: 0.5 }, calibratorConfig: { type: 'taylorseer' } },
  { cacheConfig: { cacheType: 'DBPrune', maxWarmupSteps: 1, residualDiffThreshold: 0.3 } },
  { cacheConfig: { cacheType: 'EasyCache', maxWarmupSteps: 1, residualDiffThreshold: 0.5 } },
];
const ends = { finished: 0, aborted: 0 };
async function request(options) {
  try {
    await pipe.generate({ prompt: 'red apple', ...options });
    ends.finished++;
  } catch (error) {
    if (error.code !== 'ABORTED') throw error;
    ends.aborted++;
  }
  note();
}

for (let i = 0; i < requests; i++) {
  const cache = caches[i % caches.length];
  if (cache) enableCache(pipe, cache);
  else disableCache(pipe);
  const controller = new AbortController();
  await request({
    width: 64 + 16 * (i % 5),
    height: 64 + 16 * ((i * 3) % 4),
    numInferenceSteps: 2 + (i % 3),
    seed: i,
    signal: controller.signal,
    onStep: ({ step }) => void (i % 7 === 6 && step === 2 && controller.abort()),
  });
}
disableCache(pipe);
const edges = Array.from({ length: Math.ceil(Math.sqrt(sizes)) }, (_, i) => 64 + 16 * i);
const grid = edges.flatMap((width) => edges.map((height) => ({ width, height }))).slice(0, sizes);
for (const size of grid) await request({ ...size, numInferenceSteps: 1, seed: 1 });
const { stats } = programs;
await pipe.dispose();
const left = { ...backend.live };
await backend.dispose();

const rss = points.map((point) => point.rss);
const spread = (values) => `${Math.min(...values).toFixed(0)} to ${Math.max(...values).toFixed(0)} MB`;
const half = Math.floor(requests / 2);
console.log(
  `requests: ${ends.finished} finished, ${ends.aborted} aborted; handles left: most after a request ${Math.max(...points.map((point) => point.left))}, at the end ${JSON.stringify(left)}`,
);
console.log(
  `resident: requests 1 to ${half}: ${spread(rss.slice(0, half))}, to ${requests}: ${spread(rss.slice(half, requests))}, ${sizes} sizes: ${spread(rss.slice(requests))}`,
);
console.log(`programs: ${JSON.stringify(stats)}`);
if (left.tensors + left.bytes + left.programs > 0) process.exitCode = 1;

const [width, height, margin] = [720, 300, 48];
const top = 100 * Math.ceil(Math.max(...rss) / 100);
const x = (i) => (margin + (i / (points.length - 1)) * (width - 2 * margin)).toFixed(1);
const y = (mb) => (height - margin - (mb / top) * (height - 2 * margin)).toFixed(1);
const line = (name, colour) =>
  `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points.map((point, i) => `${x(i)},${y(point[name])}`).join(' ')}"/>`;
const text = (at, label, extra = '') => `<text x="${at[0]}" y="${at[1]}" ${extra}>${label}</text>`;
const ticks = Array.from({ length: top / 100 + 1 }, (_, i) => 100 * i);
mkdirSync(new URL('../docs/images/', import.meta.url), { recursive: true });
writeFileSync(
  new URL('../docs/images/soak.svg', import.meta.url),
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="11">
<rect width="${width}" height="${height}" fill="#fff"/>
${ticks.map((mb) => `<line x1="${margin}" x2="${width - margin}" y1="${y(mb)}" y2="${y(mb)}" stroke="#ddd"/>${text([margin - 6, Number(y(mb)) + 4], mb, 'text-anchor="end"')}`).join('\n')}
<line x1="${x(requests)}" x2="${x(requests)}" y1="${margin}" y2="${height - margin}" stroke="#888" stroke-dasharray="4 3"/>
<line x1="${margin}" x2="${width - margin}" y1="${y(maxBytes / 1e6)}" y2="${y(maxBytes / 1e6)}" stroke="#c60" stroke-dasharray="2 3"/>
${line('rss', '#06c')}
${line('programs', '#c60')}
${text([margin, margin - 24], `MB after each request: resident memory (blue), programs by estimate (orange) and their limit (dotted)`)}
${text([margin, height - margin + 20], `${requests} requests of mixed sizes, caches and aborts`)}
${text([x(requests), height - margin + 20], `${sizes} sizes`)}
</svg>
`,
);
