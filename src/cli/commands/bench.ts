/** `deja-dit bench`: this machine's step times, overhead and cold start, or with `--quantize` those of fewer bits. */
import { fileURLToPath } from 'node:url';
import type { BenchPlace } from '../../lab/bench/cases.ts';
import { timeColdStart } from '../../lab/bench/cold-start.ts';
import { timeTypes } from '../../lab/bench/quantized-steps.ts';
import { describeMachine, timeCases } from '../../lab/bench/steps.ts';
import type { ComputeDtype } from '../../models/compute-dtype.ts';
import type { BackendChoice } from '../../runtime/create-backend.ts';
import { resolveModel } from '../../weights/hub/hub.ts';
import { type ModelFlags, modelOf } from '../flags/model-flags.ts';
import { bytes, milliseconds, table } from '../output/format.ts';

export interface BenchFlags extends ModelFlags {
  quantize?: string[];
  against?: string;
  backend?: BackendChoice;
  computeDtype?: ComputeDtype;
  dryRun?: boolean;
  json?: boolean;
}

export async function bench({
  quantize,
  against,
  backend,
  computeDtype,
  dryRun,
  json,
  ...flags
}: BenchFlags): Promise<void> {
  const { source, options: fromHub } = modelOf(flags);
  const model = await resolveModel(source, fromHub);
  const on = { backend, computeDtype, dryRun };
  if (quantize) return benchTypes({ model, quantize, against, on, json });
  const command = fileURLToPath(new URL('../main.js', import.meta.url));
  const chosen = Object.entries({ '--backend': backend, '--compute-dtype': computeDtype });
  const given = chosen.flatMap(([flag, value]) => (value === undefined ? [] : [flag, value]));
  const cold = await timeColdStart({ command, model, flags: given });
  const results = await timeCases(model, { against, on });
  const machine = describeMachine();
  if (json) return console.log(JSON.stringify({ machine, cold, results }, null, 2));

  console.log(`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, ${machine.date}\n`);
  const peer = against ? ['PyTorch', 'ratio'] : [];
  const header = [
    `transformer step, ${describeChoice({ backend, computeDtype })}`,
    'step',
    'overhead',
    'GFLOP/s',
    'of one GEMM',
    'transferred',
    ...peer,
  ];
  const rows = results.map((r) => [
    r.name,
    milliseconds(r.step),
    `${(100 * r.overhead).toFixed(1)} %`,
    r.gflops.toFixed(0),
    r.gemmGflops.toFixed(0),
    bytes(r.transferred),
    ...(r.python ? [milliseconds(r.python.step), `${r.python.ratio.toFixed(2)}×`] : []),
  ]);
  console.log(table([header, ...rows]));
  const version = results.find((r) => r.python)?.python?.version;
  if (version)
    console.log(
      `\n${version} eager, the same weights or sizes, ${machine.cores} threads, in turns; ratio of medians, above 1 deja-dit is faster`,
    );
  console.log(
    `\ncold start: ${milliseconds(cold.firstStep)} from the shell to the first step, ${milliseconds(cold.total)} to a file of one step; peak memory ${bytes(cold.peakMemory)}`,
  );
}

function describeChoice({ backend = 'cpu', computeDtype }: Pick<BenchFlags, 'backend' | 'computeDtype'>): string {
  if (backend === 'cpu') return 'fp32';
  return computeDtype === undefined ? backend : `${backend}, ${computeDtype}`;
}

async function benchTypes({
  model,
  quantize: types,
  against,
  on,
  json,
}: { model: string; quantize: string[]; on: BenchPlace } & Pick<BenchFlags, 'against' | 'json'>): Promise<void> {
  const results = await timeTypes({ model, types, against, on });
  if (json) return console.log(JSON.stringify(results, null, 2));
  for (const { name, rows } of results) {
    const [base] = rows;
    const lines = rows.map(({ type, step, weightBytes, layerShare }) => [
      type,
      milliseconds(step),
      `${(base!.step / step).toFixed(2)}×`,
      weightBytes === 0 ? '' : bytes(weightBytes),
      weightBytes === 0 ? '' : `${(weightBytes / base!.weightBytes).toFixed(3)}×`,
      layerShare === undefined ? '' : `${layerShare.toFixed(3)}×`,
    ]);
    console.log(`${table([[name, 'step', 'faster', 'weights', `of ${base!.type}`, 'quantised layers'], ...lines])}\n`);
  }
}
