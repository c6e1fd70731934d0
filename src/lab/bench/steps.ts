/** What this machine does with a transformer step, and where the rest of the time goes. */
import os from 'node:os';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { median } from '../median.ts';
import { TimedBackend } from '../timed-backend.ts';
import { type BenchCase, type BenchPlace, benchCases, caseInputs, loadCase, openBackend, turn } from './cases.ts';
import { timeGemm } from './gemm.ts';
import { startPython } from './python.ts';

export interface CaseTimes {
  name: string;
  /** Medians, in milliseconds. */
  step: number;
  /** Share of a step spent outside the backend's runs. */
  overhead: number;
  gflops: number;
  /** A single matrix product of the model's tokens and width, GFLOP/s. */
  gemmGflops: number;
  /** Bytes that a step brought to the backend and back. */
  transferred: number;
  python?: { version: string; step: number; ratio: number };
}

/** The machine that figures belong to. */
export function describeMachine() {
  return {
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    node: process.version,
    date: new Date().toISOString().slice(0, 10),
  };
}

/**
 * A transformer step of every case.
 * @param model folder of a FLUX pipeline
 * @throws DejaDitError RUNTIME if that Python cannot
 */
export async function timeCases(model: string, { against, on = {} }: TimeCasesOptions = {}): Promise<CaseTimes[]> {
  const threads = os.availableParallelism();
  const results: CaseTimes[] = [];
  for (const item of benchCases(model, on)) results.push(await timeCase(item, { threads, against, on }));
  return results;
}

export interface TimeCasesOptions {
  /** A Python with torch and diffusers, which runs the same in turns on the processor. */
  against?: string | undefined;
  on?: BenchPlace | undefined;
}

async function timeCase(
  item: BenchCase,
  { threads, against, on }: TimeCasesOptions & { threads: number; on: BenchPlace },
): Promise<CaseTimes> {
  const backend = new TimedBackend(await openBackend(on));
  const model = await loadCase(item, new ProgramCache(backend), on.computeDtype);
  const inputs = caseInputs(item, model.config);
  for (let i = 0; i < turn; i++) await model.forward(inputs);
  const python = against === undefined ? undefined : await startPython(against, item, threads);
  await python?.time(turn);

  const steps: number[] = [];
  const pythonSteps: number[] = [];
  const outside: number[] = [];
  let [flops, transferred] = [0, 0];
  while (steps.length < item.runs) {
    for (let i = 0; i < turn; i++) {
      backend.reset();
      const start = performance.now();
      await model.forward(inputs);
      const time = performance.now() - start;
      steps.push(time);
      outside.push((time - backend.runTime) / time);
      ({ flops, transferred } = backend);
    }
    if (python) pythonSteps.push(...(await python.time(turn)));
  }
  python?.close();
  const tokens = item.imageEdge ** 2 + item.textTokens;
  const width = Number(model.config['num_attention_heads']) * Number(model.config['attention_head_dim']);
  const gemmGflops = await timeGemm(backend, { tokens, width, dtype: model.computeDtype });
  await model.dispose();
  await backend.dispose();
  const step = median(steps);
  return {
    name: item.name,
    step,
    overhead: median(outside),
    gflops: flops / step / 1e6,
    gemmGflops,
    transferred,
    ...(python
      ? { python: { version: python.version, step: median(pythonSteps), ratio: median(pythonSteps) / step } }
      : {}),
  };
}
