/** Steps of the same model in float32 and in fewer bits, in turns within one run. */
import os from 'node:os';
import type { ForwardInputs } from '../../models/inputs.ts';
import { TransformerModel } from '../../models/transformer-model.ts';
import { quantize } from '../../quantize/quantize.ts';
import { layerBytes } from '../../quantize/report.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { memoryWeights } from '../../weights/weight-source.ts';
import { WeightStore } from '../../weights/weight-store.ts';
import { median } from '../median.ts';
import { type BenchCase, type BenchPlace, benchCases, caseInputs, loadCase, openBackend, turn } from './cases.ts';
import { startPython } from './python.ts';

export interface TypeTimesOptions {
  model: string;
  types: readonly string[];
  against?: string | undefined;
  on?: BenchPlace | undefined;
}

export interface Timed {
  type: string;
  /** Milliseconds, median. */
  step: number;
  weightBytes: number;
  /** Bytes of the layers that were quantised, over their float32 bytes. */
  layerShare?: number | undefined;
}

/** A case's rows, the one in plain numbers first. */
export interface TypeTimes {
  name: string;
  rows: Timed[];
}

/**
 * Steps of every case in the type that is computed in and in each of the types, in turns.
 * @param model folder of a FLUX pipeline
 * @param against a Python with torch and diffusers, which takes its turns in compiled bfloat16
 * @throws DejaDitError INVALID_ARGUMENT for an unknown type, RUNTIME if that Python cannot
 */
export async function timeTypes({ model, types, against, on = {} }: TypeTimesOptions): Promise<TypeTimes[]> {
  const threads = os.availableParallelism();
  const results: TypeTimes[] = [];
  for (const item of benchCases(model, on))
    results.push({ name: item.name, rows: await timeCase(item, { types, threads, against, on }) });
  return results;
}

async function timeCase(
  item: BenchCase,
  { types, threads, against, on }: Omit<TypeTimesOptions, 'model'> & { threads: number; on: BenchPlace },
): Promise<Timed[]> {
  const backend = await openBackend(on);
  const programs = new ProgramCache(backend);
  const plain = await loadCase(item, programs, on.computeDtype);
  const inputs = caseInputs(item, plain.config);
  await plain.forward(inputs);
  const models = new Map<string, TransformerModel>([[plain.computeDtype, plain]]);
  const shares = new Map<string, number>();
  for (const quantType of types) {
    const copy = await copyOf(plain);
    const { components } = await quantize(copy, { quantType });
    const { before, after } = layerBytes(components[0]!.layers);
    shares.set(quantType, after / before);
    models.set(quantType, copy);
  }
  const python =
    against === undefined ? undefined : await startPython(against, { ...item, compiledBfloat16: true }, threads);

  const peers = new Map<string, () => Promise<number[]>>();
  for (const [type, model] of models) peers.set(type, () => timeSteps(model, inputs));
  if (python) peers.set(`${python.version} bfloat16, compiled`, () => python.time(turn));
  const times = new Map([...peers.keys()].map((type) => [type, [] as number[]]));
  for (const time of peers.values()) await time();
  for (let done = 0; done < item.runs; done += turn) {
    for (const [type, time] of peers) times.get(type)!.push(...(await time()));
  }
  python?.close();
  const rows = [...times].map(([type, steps]) => ({
    type,
    step: median(steps),
    weightBytes: models.get(type)?.weights.bytes ?? 0,
    layerShare: shares.get(type),
  }));
  for (const model of models.values()) await model.dispose();
  await backend.dispose();
  return rows;
}

async function timeSteps(model: TransformerModel, inputs: ForwardInputs): Promise<number[]> {
  const steps: number[] = [];
  for (let i = 0; i < turn; i++) {
    const start = performance.now();
    await model.forward(inputs);
    steps.push(performance.now() - start);
  }
  return steps;
}

/** A model with weights of its own, which can be replaced. */
async function copyOf({ definition, weights, programs, computeDtype }: TransformerModel): Promise<TransformerModel> {
  const tensors: Record<string, Tensor> = {};
  for (const name of weights.names) tensors[name] = await programs.backend.download(weights.get(name));
  const options = { backend: programs.backend, origin: weights.origin, weightDtype: 'stored' } as const;
  const store = await WeightStore.load(memoryWeights(tensors), options);
  return new TransformerModel(definition, store, programs, computeDtype);
}
