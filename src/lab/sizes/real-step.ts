/** A step of a published model at its real size, on made-up weights that are held in few bits: how long it takes, and in how much memory. */
import { readFileSync } from 'node:fs';
import os from 'node:os';
import { onesOf } from '../../models/smallest-inputs.ts';
import { TransformerModel } from '../../models/transformer-model.ts';
import { createBackend } from '../../runtime/create-backend.ts';
import { ProgramCache } from '../../runtime/program-cache.ts';
import { Generator } from '../../tensor/generator.ts';
import { RandomWeights } from '../bench/random-weights.ts';
import { TimedBackend } from '../timed-backend.ts';
import { callInputs, describeModel, type SizedType } from './model-size.ts';
import type { PublishedModel } from './published.ts';

export interface RealStep {
  model: string;
  type: SizedType;
  /** The size of the call, in words. */
  at: string;
  /** Milliseconds of a call, without building and compiling its program. */
  step: number;
  /** Milliseconds of all cores in it: what others on the machine disturb less. */
  processor: number;
  /** Of all weights, as they are held. */
  weightBytes: number;
  /** The most memory that the process has had by its end, and before there were weights. */
  peakBytes: number;
  startBytes: number;
  /** Standard deviation of the output. */
  spread: number;
}

/**
 * Makes weights, and one call. The peak is the process's: measure one model in each.
 * @throws DejaDitError if the model does not run; an Error if its output is no number, or the same everywhere
 */
export async function realStep(published: PublishedModel, type: SizedType): Promise<RealStep> {
  const { model: definition, weights: named } = await describeModel(published);
  const call = published.smaller ?? published.call;
  await using backend = new TimedBackend(await createBackend({ backend: 'cpu', threads: os.availableParallelism() }));
  const startBytes = peakMemory();
  const weights = new RandomWeights(backend, { formatOf: (name, shape) => named.formatOf(type, name, shape) });
  await using model = new TransformerModel(definition, weights, new ProgramCache(backend));
  const generator = new Generator(1);
  const inputs = callInputs(definition, call, (name, shape, kind) => {
    const isSignal = kind === 'float' && shape.length > 1 && !name.includes('mask');
    return isSignal ? generator.randn(shape) : onesOf(shape, kind);
  });
  const { sample } = await model.forward(inputs);
  const spread = deviation([sample].flat()[0]!.float().f32);
  if (!(spread > 0)) throw new Error(`${published.name}: the output's standard deviation is ${spread}`);
  return {
    model: published.name,
    type,
    at: call.at,
    step: backend.runTime,
    processor: backend.processorTime,
    weightBytes: weights.bytes,
    peakBytes: peakMemory(),
    startBytes,
    spread,
  };
}

/** Linux counts it for each process. */
function peakMemory(): number {
  const [, kilobytes] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

function deviation(values: Float32Array): number {
  let [sum, squares] = [0, 0];
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  const mean = sum / values.length;
  return Math.sqrt(squares / values.length - mean * mean);
}
