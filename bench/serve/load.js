/**
 * What a server adds, and what it bears: node bench/serve/load.js, after npm run build.
 * Requests one after the other (what HTTP and queue add to each), eight clients beside one (throughput), and 200 mixed requests of sixteen
 * clients, every answer compared with the same request alone, with the memory of both processes before and after.
 */
import { readFileSync } from 'node:fs';
import { bundledModel, DiffusionPipeline, Image } from '../../dist/index.js';
import { createServer, listen } from '../../dist/serve/index.js';

const server = createServer({ model: bundledModel(), maxQueued: 300 });
const { address, close } = await listen(server, { port: 0 });
await server.ready;
const pipe = await DiffusionPipeline.fromPretrained(bundledModel(), { worker: true });

const draw = async (options) => {
  const begin = performance.now();
  const body = JSON.stringify(options);
  const answer = await fetch(`${address}/v1/images/generations`, { method: 'POST', body });
  const { data, inference_time_s, error } = await answer.json();
  if (error) throw new Error(error.message);
  return {
    image: Buffer.from(data[0].b64_json, 'base64'),
    inside: inference_time_s * 1000,
    outside: performance.now() - begin,
  };
};
const resident = () =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.core.enginePid}/status`, 'utf8'))[1]) / 1024;
/** Processor seconds of the engine process, which other load on the machine changes less than time. */
const cpu = () => {
  const fields = readFileSync(`/proc/${server.core.enginePid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
};
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const one = { prompt: 'red apple', num_inference_steps: 8, size: '128x128' };
for (let i = 0; i < 3; i++) await draw({ ...one, seed: i });
const alone = [];
const begin = performance.now();
for (let i = 0; i < 8; i++) alone.push(await draw({ ...one, seed: i }));
const sequential = performance.now() - begin;
const added = alone.map(({ inside, outside }) => (outside - inside) / inside);
console.log(
  `one client: ${(sequential / 8).toFixed(0)} ms a picture; HTTP, queue and encoding add ${(100 * median(added)).toFixed(1)} %`,
);

for (const size of ['64x64', '128x128', '256x256'])
  for (const cache of [false, true]) {
    // Plain thresholds: all cached requests decide the same.
    const same = { ...one, size, cache: cache && { residual_diff_threshold: 1, max_warmup_steps: 2 } };
    const all = (work) => work(Array.from({ length: 8 }, (_, i) => () => draw({ ...same, seed: i })));
    const inTurn = (draws) => draws.reduce((before, next) => before.then(next), Promise.resolve());
    const atOnce = (draws) => Promise.all(draws.map((next) => next()));
    const ratios = [];
    await all(atOnce);
    for (let round = 0; round < 3; round++) {
      const [first, cpuFirst] = [performance.now(), cpu()];
      await all(inTurn);
      const [second, cpuSecond] = [performance.now(), cpu()];
      await all(atOnce);
      ratios.push([(second - first) / (performance.now() - second), (cpuSecond - cpuFirst) / (cpu() - cpuSecond)]);
    }
    const [time, processor] = [0, 1].map((i) => median(ratios.map((ratio) => ratio[i])).toFixed(2));
    console.log(
      `eight clients, ${size}, ${cache ? 'cached' : 'uncached'}: ${time} times the throughput of one; ${processor} by processor time`,
    );
  }

// What a cancelled request leaves is somebody else's within a run, a part of a step.
const slow = { ...one, num_inference_steps: 100, size: '256x256' };
const freed = [];
for (let i = 0; i < 8; i++) {
  const stop = new AbortController();
  const left = fetch(`${address}/v1/images/generations`, {
    method: 'POST',
    body: JSON.stringify(slow),
    signal: stop.signal,
  }).catch(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 700));
  const cancelled = performance.now();
  stop.abort();
  await left;
  while (/deja_dit_jobs_running [1-9]/.test(await (await fetch(`${address}/metrics`)).text())) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  freed.push(performance.now() - cancelled);
}
console.log(
  `a request that is left frees its place after ${median(freed).toFixed(0)} ms (${Math.max(...freed).toFixed(0)} at most)`,
);

const prompts = ['red apple', 'pizza', 'blue butterfly', '3D unicorn'];
const mixed = Array.from({ length: 200 }, (_, i) => ({
  prompt: prompts[i % 4],
  seed: i % 10,
  num_inference_steps: 2 + (i % 3),
  size: ['64x64', '128x128', '96x64'][i % 3],
  ...(i % 5 === 0 ? { cache: { residual_diff_threshold: 1, max_warmup_steps: 1 } } : {}),
}));
const expected = new Map();
const imageOf = async ({ prompt, seed, num_inference_steps: numInferenceSteps, size, cache }) => {
  const [width, height] = size.split('x').map(Number);
  const cacheConfig = cache && { residualDiffThreshold: 1, maxWarmupSteps: 1 };
  const options = { prompt, seed, numInferenceSteps, width, height, ...(cache ? { cache: { cacheConfig } } : {}) };
  const key = JSON.stringify(options);
  if (!expected.has(key)) expected.set(key, (await pipe.generate(options)).images[0]);
  return expected.get(key);
};
const levels = [];
const memory = [];
let next = 0;
const client = async () => {
  for (let i = next++; i < mixed.length; i = next++) {
    const { image } = await draw(mixed[i]);
    levels[i] = (await Image.load(image)).data;
    if (i % 20 === 0) memory.push(Math.round(resident()));
  }
};
const start = performance.now();
await Promise.all(Array.from({ length: 16 }, client));
const seconds = (performance.now() - start) / 1000;
let wrong = 0;
for (const [i, request] of mixed.entries()) {
  const { data } = await imageOf(request);
  if (data.length !== levels[i].length || data.some((level, at) => Math.abs(level - levels[i][at]) > 1)) wrong++;
}
console.log(
  `200 mixed requests of 16 clients: ${seconds.toFixed(0)} s, ${wrong} wrong; engine process ${memory.join(' ')} MB; server ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MB`,
);
await close();
await server.close();
await pipe.dispose();
