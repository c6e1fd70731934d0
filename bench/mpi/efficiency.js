/**
 * Time of a step on two ranks with a thread each beside one process with two threads, in turns, at DiT-XL's width: node bench/mpi/efficiency.js
 */
import os from 'node:os';
import { enableCache } from '../../dist/api/enable-cache.js';
import { caseInputs, ditXlSize, loadCase } from '../../dist/lab/bench/cases.js';
import { createBackend } from '../../dist/runtime/create-backend.js';
import { ProgramCache } from '../../dist/runtime/program-cache.js';

const inputs = caseInputs({ imageEdge: 31, textTokens: 63 }, ditXlSize);
const rounds = Number(process.argv[2] ?? 5);

async function open(parallelismConfig, threads) {
  const programs = new ProgramCache(await createBackend({ threads, worker: true }));
  const model = await loadCase({ model: ditXlSize }, programs);
  await model.forward(inputs);
  if (parallelismConfig) enableCache(model, { cacheConfig: null, parallelismConfig });
  await model.forward(inputs);
  return {
    async step() {
      const begin = performance.now();
      await model.forward(inputs);
      return performance.now() - begin;
    },
    async close() {
      await model.dispose();
      await programs.backend.dispose();
    },
  };
}

console.log(`${os.cpus()[0].model}, ${os.cpus().length} cores`);
const one = await open(undefined, 2);
for (const [name, parallel] of [
  ['ulysses 2', { ulyssesSize: 2 }],
  ['ring 2', { ringSize: 2 }],
  ['tensor 2', { tpSize: 2 }],
]) {
  const two = await open(parallel, 1);
  const times = [[], []];
  for (let i = 0; i < rounds; i++) for (const [at, who] of [one, two].entries()) times[at].push(await who.step());
  const [alone, ranks] = times.map((list) => list.toSorted((a, b) => a - b)[Math.floor(rounds / 2)]);
  console.log(
    `${name}: ${ranks.toFixed(0)} ms, one process ${alone.toFixed(0)} ms: efficiency ${((100 * alone) / ranks).toFixed(0)} %`,
  );
  await two.close();
}
await one.close();
