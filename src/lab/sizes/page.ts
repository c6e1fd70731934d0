/** `docs/sizes.md`: how large published models are, and what a step of the smaller ones took. */

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { modelSize, processPeak } from './model-size.ts';
import { publishedModels } from './published.ts';
import type { RealStep } from './real-step.ts';

/** What `npm run bench:sizes` keeps. */
const measurements = fileURLToPath(new URL('../../../bench/sizes.json', import.meta.url));

export async function sizesPage(): Promise<string> {
  return `# Sizes of published models

Transformers as they were published (\`src/lab/sizes/published.ts\` says with which config), counted and not run: \`npm run docs:sizes\` emits each as
a graph over weights that exist in name only. One call, of one prompt, at a usual size: its operations, and the weights in float32 and as
\`quantize\` makes them by default, in GB of 10⁹ bytes. *Values* is the most that the values of the call's graph come to at once, in float32,
*int8 process* the memory that a process takes at its peak for such a call: the weights in 8 bits, 0.25 GB, and 2.3 times the values, as fits what
was measured below. A step with classifier-free guidance makes two calls. Text encoders and autoencoders come on top.

${await countedTable()}

## Steps that were run

Models of up to 3 billion parameters at their real size, on made-up weights that are held in 8 or 4 bits: \`npm run bench:sizes -- [names]\`, a
process for each. Where a call at the usual size takes minutes on a processor, a smaller one was made. *Processor* is the time of all cores
together, which others on the machine disturb least: two free cores take half of it. *Peak* is the most memory that the process has had
(\`VmHWM\`), *estimate* what the formula above says. It is made for 8 bits.

${await measuredTable()}
`;
}

async function countedTable(): Promise<string> {
  const rows: string[][] = [];
  for (const model of publishedModels) {
    const { parameters, bytes, call } = await modelSize(model);
    rows.push([
      `${model.name} (\`${model.family}\`)`,
      parameters < 1e9 ? `${(parameters / 1e6).toFixed(0)} M` : `${(parameters / 1e9).toFixed(2)} B`,
      model.call.at,
      teraflops(call.flops),
      ...[bytes.float32, bytes.int8, bytes.int4, call.peak].map(gigabytes),
      gigabytes(processPeak({ weights: bytes.int8, values: call.peak })),
    ]);
  }
  const head = [
    'model',
    'parameters',
    'a call at',
    'TFLOP',
    'float32',
    'int8_per_row',
    'int4',
    'values',
    'int8 process',
  ];
  return table(head, rows, [0, 2]);
}

async function measuredTable(): Promise<string> {
  const steps = JSON.parse(await readFile(measurements, 'utf8')) as (RealStep & { machine: string })[];
  const rows: string[][] = [];
  const machines = new Set(steps.map(({ machine }) => machine));
  for (const model of publishedModels)
    for (const step of steps.filter((step) => step.model === model.name)) {
      const call = [model.call, model.smaller].find((call) => call?.at === step.at);
      if (!call)
        throw new Error(`${step.model} was measured at ${step.at}, which is no size of it any more: measure it again`);
      const { flops, peak } = (await modelSize({ ...model, call })).call;
      rows.push([
        step.model,
        step.type,
        step.at,
        teraflops(flops),
        `${(step.processor / 1000).toFixed(1)} s`,
        gigabytes(step.weightBytes),
        gigabytes(step.peakBytes),
        step.type === 'int8_per_row' ? gigabytes(processPeak({ weights: step.weightBytes, values: peak })) : '',
      ]);
    }
  const head = ['model', 'type', 'a call at', 'TFLOP', 'processor', 'weights', 'peak', 'estimate'];
  return `${[...machines].join('; ')}, used by others too:\n\n${table(head, rows, [0, 1, 2])}`;
}

function table(head: string[], rows: string[][], words: number[]): string {
  const rule = head.map((_, column) => (words.includes(column) ? '---' : '--:'));
  return [head, rule, ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}

const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(2);
const teraflops = (flops: number) => String(Number((flops / 1e12).toPrecision(3)));
