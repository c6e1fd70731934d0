/**
 * A step of published models of up to 3 billion parameters at their real size, on made-up weights: `npm run bench:sizes -- [names]`, where a
 * part of a name is enough, and `--type int4_weight_only` for 4 bits instead of 8. One process for each model, so that the peaks of memory
 * are theirs. Prints a line for each, and keeps what it measured in `bench/sizes.json`, which `npm run docs:sizes` puts into the page.
 */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { describeMachine } from '../dist/lab/bench/steps.js';
import { modelSize, sizedTypes } from '../dist/lab/sizes/model-size.js';
import { publishedModels } from '../dist/lab/sizes/published.js';
import { realStep } from '../dist/lab/sizes/real-step.js';

const mostParameters = 3e9;
const kept = new URL('sizes.json', import.meta.url);
const { values, positionals: names } = parseArgs({
  allowPositionals: true,
  options: { type: { type: 'string', default: 'int8_per_row' }, only: { type: 'string' } },
});
const { type, only } = values;
const isWanted = ({ name }) =>
  names.length === 0 || names.some((part) => name.toLowerCase().includes(part.toLowerCase()));
const wanted = publishedModels.filter(isWanted);
if (!sizedTypes.includes(type)) fail(`--type: unknown type '${type}', expected ${sizedTypes.join(' or ')}`);
if (wanted.length === 0) fail(`no model is named '${names.join("' or '")}'; docs/sizes.md lists them`);

if (only) {
  const step = await realStep(
    publishedModels.find(({ name }) => name === only),
    type,
  );
  console.log(JSON.stringify(step));
} else {
  const { cpu, cores } = describeMachine();
  const flags = readFileSync('/proc/cpuinfo', 'utf8');
  const vectors = ['avx512_vnni', 'avx_vnni', 'avx2'].find((flag) => flags.includes(flag));
  const machine = `${cpu} (${vectors ?? 'no AVX2'}), ${cores} cores`;
  for (const model of wanted) {
    if ((await modelSize(model)).parameters > mostParameters) {
      if (names.length > 0)
        console.error(`${model.name}: left out, it has more than ${mostParameters / 1e9} billion parameters`);
      continue;
    }
    const self = fileURLToPath(import.meta.url);
    const { stdout } = await promisify(execFile)(process.execPath, [self, '--only', model.name, '--type', type]);
    const result = { ...JSON.parse(stdout), machine };
    const { at, step, processor, weightBytes, peakBytes, startBytes, spread } = result;
    const gigabytes = (bytes) => `${(bytes / 1e9).toFixed(2)} GB`;
    console.log(
      `${model.name}, ${type}, ${at}: ${(step / 1000).toFixed(1)} s (${(processor / 1000).toFixed(1)} s of processor);`,
      `weights ${gigabytes(weightBytes)}, peak ${gigabytes(peakBytes)} (${gigabytes(startBytes)} without weights);`,
      `spread ${spread.toPrecision(3)}`,
    );
    const others = readKept().filter((other) => other.model !== model.name || other.type !== type);
    writeFileSync(kept, `${JSON.stringify([...others, result], null, 2)}\n`);
  }
}

function fail(message) {
  console.error(message);
  process.exit(1);
}

function readKept() {
  try {
    return JSON.parse(readFileSync(kept, 'utf8'));
  } catch {
    return [];
  }
}
