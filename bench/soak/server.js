/**
 * A server for long at a low rate, as a curve: `node bench/soak/server.js [minutes]` (60). Needs `npm run build`, and Linux for the memory of
 * both processes. Requests of mixed sizes, lengths and caches come one by one or a few at once, some are cancelled, some are malformed. Prints
 * what it found, writes `docs/images/server-soak.svg`, and fails where a bound is exceeded:
 *
 * - every picture is that of the same request alone, every malformed request is refused, nothing else fails;
 * - resident memory of neither process grows: in the second half it stays near the most of the first half;
 * - nothing is left in the queue, and the server ends by itself when it is told to.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DiffusionPipeline, Image, setWarningHandler } from '../../dist/index.js';
import { curve } from './curve.js';

const [minutes = 60] = process.argv.slice(2).map(Number);
const model = fileURLToPath(new URL('../../models/emoji-flux', import.meta.url));
/** By what the second half may exceed the first: what an allocator keeps varies with the order of requests. */
const allowedGrowth = 1.1;
/** Seconds between requests, on average. */
const every = 5;

const eager = { residual_diff_threshold: 1, max_warmup_steps: 1 };
const caches = [undefined, eager, { error_budget: 0.2 }, { ...eager, cache_type: 'EasyCache' }, undefined];
const kinds = Array.from({ length: 20 }, (_, i) => ({
  prompt: ['red apple', 'pizza', 'blue butterfly', '3D unicorn'][i % 4],
  seed: i,
  steps: 3 + (i % 4),
  size: [64, 96, 128][i % 3],
  cache: caches[i % caches.length],
}));

setWarningHandler(() => {});
const expected = [];
const pipe = await DiffusionPipeline.fromPretrained(model);
for (const { prompt, seed, steps: numInferenceSteps, size, cache: cacheConfig } of kinds) {
  const options = { prompt, seed, numInferenceSteps, width: size, height: size };
  const { images } = await pipe.generate({ ...options, ...(cacheConfig ? { cache: { cacheConfig } } : {}) });
  expected.push(images[0].data);
}
await pipe.dispose();

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const args = ['serve', '--model', model, '--port', '0', '--keep', '60', '--log-level', 'error'];
const server = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
const [line] = await once(createInterface({ input: server.stdout }), 'line');
const address = /http:\/\/\S+/.exec(line)[0];
while (!(await fetch(`${address}/health`)).ok) await pause(500);

const engine = Number(readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8').split(' ')[0]);
const resident = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1000;
const counts = { drawn: 0, cancelled: 0, refused: 0, wrong: 0, failed: 0 };

async function draw(i) {
  const { prompt, seed, steps, size, cache } = kinds[i];
  const body = { prompt, seed, num_inference_steps: steps, size: `${size}x${size}`, ...(cache ? { cache } : {}) };
  const answer = await fetch(`${address}/v1/images/generations`, { method: 'POST', body: JSON.stringify(body) });
  const { data, error } = await answer.json();
  if (error) throw new Error(error.message);
  const { data: levels } = await Image.load(Buffer.from(data[0].b64_json, 'base64'));
  const isEqual = levels.length === expected[i].length && levels.every((v, at) => Math.abs(v - expected[i][at]) <= 1);
  counts[isEqual ? 'drawn' : 'wrong']++;
}

async function cancel(i) {
  const { prompt, size } = kinds[i];
  const body = { prompt, num_inference_steps: 50, width: size, height: size, previews: { every: 1 } };
  const { id } = await (await fetch(`${address}/v1/jobs`, { method: 'POST', body: JSON.stringify(body) })).json();
  await pause(300);
  await fetch(`${address}/v1/jobs/${id}`, { method: 'DELETE' });
  counts.cancelled++;
}

const malformed = [
  '{',
  '[]',
  '{"prompt": 7}',
  '{"prompt": "a", "size": "0x0"}',
  '{"prompt": "a", "cache": {"nothing": 1}}',
];
async function refuse(i) {
  const body = malformed[i % malformed.length];
  const { status } = await fetch(`${address}/v1/images/generations`, { method: 'POST', body });
  counts[status >= 400 && status < 500 ? 'refused' : 'wrong']++;
}

const points = [];
const begin = performance.now();
const running = new Set();
let next = 0;
let sampled = 0;
while (performance.now() - begin < minutes * 60_000) {
  // A few at once every now and then, so that they are computed together.
  for (let i = 0; i < (next % 9 === 0 ? 4 : 1); i++) {
    const number = next++;
    const kind = [draw, draw, draw, draw, draw, draw, cancel, draw, refuse, draw][number % 10];
    const work = kind((number * 7) % kinds.length).catch((error) => {
      counts.failed++;
      console.error(error);
    });
    running.add(work.finally(() => running.delete(work)));
  }
  const until = performance.now() + every * 1000 * (0.5 + ((next * 0.618) % 1));
  while (performance.now() < until) {
    if (performance.now() - sampled > 5000) {
      sampled = performance.now();
      points.push({ server: resident(server.pid), engine: resident(engine) });
    }
    await pause(250);
  }
}
await Promise.all(running);
const metrics = await (await fetch(`${address}/metrics`)).text();
const waiting = /^deja_dit_jobs_queued (\d+)/m.exec(metrics)?.[1];
server.kill('SIGTERM');
const [code] = await once(server, 'exit');

const half = Math.floor(points.length / 2);
const most = (name, from, to) => Math.max(...points.slice(from, to).map((point) => point[name]));
console.log(`${minutes} minutes: ${JSON.stringify(counts)}`);
let failed = false;
function bound(what, value, limit) {
  const holds = value <= limit;
  failed ||= !holds;
  console.log(`${holds ? 'ok  ' : 'FAIL'} ${what}: ${value.toFixed(0)}, at most ${limit.toFixed(0)}`);
}
bound('wrong answers', counts.wrong + counts.failed, 0);
bound('jobs left', Number(waiting), 0);
bound('exit code', code ?? 255, 0);
for (const name of ['server', 'engine'])
  bound(`MB resident of the ${name}, second half`, most(name, half), allowedGrowth * most(name, 0, half));
process.exitCode = failed ? 1 : 0;

mkdirSync(new URL('../../docs/images/', import.meta.url), { recursive: true });
writeFileSync(
  new URL('../../docs/images/server-soak.svg', import.meta.url),
  curve({
    title:
      'MB resident: the process that draws (blue), the one that answers (orange), and the bound of the former (dotted)',
    lines: [
      { colour: '#06c', values: points.map((point) => point.engine) },
      { colour: '#c60', values: points.map((point) => point.server) },
    ],
    limit: { colour: '#06c', value: allowedGrowth * most('engine', 0, half) },
    parts: [
      {
        from: 0,
        label: `0 min: ${Object.values(counts).reduce((sum, n) => sum + n)} requests, ${counts.cancelled} of them cancelled`,
      },
      { from: half, label: `${minutes / 2} min` },
    ],
  }),
);
