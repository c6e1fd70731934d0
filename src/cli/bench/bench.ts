/** `deja-dit bench`: what this machine does with a transformer step, and where the rest of the time goes. */
import { execFile } from 'node:child_process';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { GraphBuilder } from '../../graph/builder.ts';
import { gemm } from '../../graph/ops.ts';
import { createBackend } from '../../runtime/create-backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { disposeTensors } from '../../runtime/tensor-table.ts';
import { Generator } from '../../tensor/generator.ts';
import { resolveModel } from '../../weights/hub.ts';
import { bytes, milliseconds, table } from '../format.ts';
import { median } from '../median.ts';
import { type ModelFlags, modelOf } from '../model-flags.ts';
import { type BenchCase, benchCases, caseInputs, loadCase, turn } from './cases.ts';
import { startPython } from './python.ts';
import { TimedBackend } from './timed-backend.ts';

export interface BenchFlags extends ModelFlags {
  against?: string;
  json?: boolean;
}

interface CaseResult {
  name: string;
  /** Medians, in milliseconds. */
  step: number;
  /** Share of a step spent outside the backend's runs. */
  overhead: number;
  gflops: number;
  /** A single matrix product of the model's tokens and width, GFLOP/s. */
  gemmGflops: number;
  python?: { version: string; step: number; ratio: number };
}

interface ColdStart {
  firstStep: number;
  total: number;
  peakMemory: number;
}

export async function bench({ against, json, ...flags }: BenchFlags): Promise<void> {
  const threads = os.availableParallelism();
  const { source, options: fromHub } = modelOf(flags);
  const model = await resolveModel(source, fromHub);
  const cold = await coldStart(model);
  const results: CaseResult[] = [];
  for (const item of benchCases(model)) results.push(await runCase(item, { threads, against }));
  const machine = {
    cpu: os.cpus()[0]?.model.trim(),
    cores: threads,
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
  };
  if (json) return console.log(JSON.stringify({ machine, cold, results }, null, 2));

  console.log(`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, ${machine.date}\n`);
  const header = [
    'transformer step, fp32',
    'step',
    'overhead',
    'GFLOP/s',
    'of one GEMM',
    ...(against ? ['PyTorch', 'ratio'] : []),
  ];
  const rows = results.map((r) => [
    r.name,
    milliseconds(r.step),
    `${(100 * r.overhead).toFixed(1)} %`,
    r.gflops.toFixed(0),
    r.gemmGflops.toFixed(0),
    ...(r.python ? [milliseconds(r.python.step), `${r.python.ratio.toFixed(2)}×`] : []),
  ]);
  console.log(table([header, ...rows]));
  const version = results.find((r) => r.python)?.python?.version;
  if (version)
    console.log(
      `\n${version} eager, the same weights or sizes, ${threads} threads, in turns; ratio of medians, above 1 deja-dit is faster`,
    );
  console.log(
    `\ncold start: ${milliseconds(cold.firstStep)} from the shell to the first step, ${milliseconds(cold.total)} to a file of one step; peak memory ${bytes(cold.peakMemory)}`,
  );
}

async function runCase(
  item: BenchCase,
  { threads, against }: { threads: number; against: string | undefined },
): Promise<CaseResult> {
  const backend = new TimedBackend(await createBackend({ backend: 'cpu', threads }));
  const model = await loadCase(item, new ProgramCache(backend));
  const inputs = caseInputs(item, model.config);
  for (let i = 0; i < turn; i++) await model.forward(inputs);
  const python = against === undefined ? undefined : await startPython(against, item, threads);
  await python?.time(turn);

  const steps: number[] = [];
  const pythonSteps: number[] = [];
  const outside: number[] = [];
  let flops = 0;
  while (steps.length < item.runs) {
    for (let i = 0; i < turn; i++) {
      backend.reset();
      const start = performance.now();
      await model.forward(inputs);
      const time = performance.now() - start;
      steps.push(time);
      outside.push((time - backend.runTime) / time);
      flops = backend.flops;
    }
    if (python) pythonSteps.push(...(await python.time(turn)));
  }
  python?.close();
  const tokens = item.imageEdge ** 2 + item.textTokens;
  const width = Number(model.config['num_attention_heads']) * Number(model.config['attention_head_dim']);
  const gemmGflops = await timeGemm(backend, tokens, width);
  await model.dispose();
  await backend.dispose();
  const step = median(steps);
  return {
    name: item.name,
    step,
    overhead: median(outside),
    gflops: flops / step / 1e6,
    gemmGflops,
    ...(python
      ? { python: { version: python.version, step: median(pythonSteps), ratio: median(pythonSteps) / step } }
      : {}),
  };
}

/** GFLOP/s of [tokens, width] · [width, 4·width], the largest product of a block. */
async function timeGemm(backend: TimedBackend, tokens: number, width: number): Promise<number> {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', [tokens, width]);
  g.output('y', gemm(x, g.weight('w', { dtype: 'float32', shape: [4 * width, width] })));
  const executable = await backend.compile(g.finish());
  const generator = new Generator(2);
  const inputs = {
    x: backend.upload(generator.randn([tokens, width])),
    w0: backend.upload(generator.randn([4 * width, width])),
  };
  const rates: number[] = [];
  for (let i = 0; i < 20; i++) {
    backend.reset();
    disposeTensors(await executable.run(inputs));
    rates.push(backend.flops / backend.runTime / 1e6);
  }
  disposeTensors(inputs);
  await executable.dispose();
  return median(rates);
}

/** A fresh process that draws one step, as a user would start it. */
async function coldStart(model: string): Promise<ColdStart> {
  const main = fileURLToPath(new URL('../main.js', import.meta.url));
  const out = `${os.tmpdir()}/deja-dit-bench-${process.pid}.png`;
  const samples: ColdStart[] = [];
  for (let i = 0; i < 3; i++) {
    const { stdout } = await promisify(execFile)(process.execPath, [
      main,
      'generate',
      'red apple',
      '-m',
      model,
      '--steps',
      '1',
      '--json',
      '-o',
      out,
    ]);
    const { process: measured } = JSON.parse(stdout) as { process: ColdStart };
    samples.push(measured);
  }
  (await import('node:fs')).rmSync(out, { force: true });
  return samples.sort((a, b) => a.firstStep - b.firstStep)[1]!;
}
