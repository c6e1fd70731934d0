/** What linear layers are given while a model runs on typical inputs. */
import { DejaDitError } from '../errors/errors.ts';
import type { GraphModel } from '../models/graph-model.ts';
import type { TransformerModel } from '../models/transformer-model.ts';
import type { DeviceTensor } from '../runtime/backend.ts';
import { disposeTensors } from '../runtime/tensor-table.ts';
import { type Matrix, matrix, matrixOf } from '../tensor/linear-algebra/matrix.ts';

export type QuantizableModel = TransformerModel | GraphModel;

export interface Observation {
  /** Largest magnitude of every input. */
  peaks: Float32Array;
  /** Rows of activations [rows, in], from calls at the beginning, the middle and the end of a long run. */
  rows: Matrix;
}

export interface CalibrationOptions {
  models: readonly QuantizableModel[];
  /** Runs the models. */
  run: () => Promise<unknown>;
  /** Calls of each layer that count. Default: all. */
  calls?: number | undefined;
}

/** Rows that are kept of a layer. */
const keptRows = 256;

/**
 * Runs the models and observes all their linear layers.
 * @returns for every model, observations by weight name
 * @throws DejaDitError INVALID_CONFIG if the run reaches no layer of a model
 */
export async function observe({
  models,
  run,
  calls = Infinity,
}: CalibrationOptions): Promise<Map<string, Observation>[]> {
  const observations = models.map(() => new Map<string, Collector>());
  const free = () => {
    for (const collected of observations) for (const { seen } of collected.values()) disposeTensors(seen.splice(0));
  };
  try {
    for (const [i, { runner, weights }] of models.entries()) {
      runner.reset();
      weights.observer = (weight, activations) => {
        const collected = observations[i]!.get(weight) ?? new Collector(calls);
        observations[i]!.set(weight, collected);
        collected.take(activations);
      };
    }
    await run();
  } catch (error) {
    free();
    throw error;
  } finally {
    for (const { runner, weights } of models) {
      weights.observer = undefined;
      runner.reset();
    }
  }
  try {
    return await Promise.all(
      observations.map(async (collected, i) => {
        const { className, programs } = models[i]!;
        if (collected.size === 0) {
          throw new DejaDitError('INVALID_CONFIG', `ran no layer of ${className}`, { path: 'calibrateFn' });
        }
        const entries = await Promise.all(
          [...collected].map(async ([name, collector]) => {
            const seen = await Promise.all(collector.seen.map((tensor) => programs.backend.download(tensor)));
            return [name, summarize(seen.map(matrixOf))] as const;
          }),
        );
        return new Map(entries);
      }),
    );
  } finally {
    free();
  }
}

/** The calls of one layer; their tensors are its own. */
class Collector {
  readonly seen: DeviceTensor[] = [];

  constructor(private readonly limit: number) {}

  take(activations: DeviceTensor): void {
    if (this.seen.length < this.limit) this.seen.push(activations);
    else activations.dispose();
  }
}

/** Each seen matrix has peaks in its first row and activations below. */
function summarize(seen: readonly Matrix[]): Observation {
  const { columns } = seen[0]!;
  const peaks = new Float32Array(columns);
  for (const { data } of seen) for (let i = 0; i < columns; i++) peaks[i] = Math.max(peaks[i]!, data[i]!);
  const total = seen.reduce((sum, { rows }) => sum + rows - 1, 0);
  const stride = Math.ceil(total / keptRows);
  const rows = matrix(Math.ceil(total / stride), columns);
  let row = 0;
  for (const { data, rows: count } of seen) {
    for (let i = 1; i < count; i++, row++) {
      if (row % stride === 0) rows.data.set(data.subarray(i * columns, (i + 1) * columns), (row / stride) * columns);
    }
  }
  return { peaks, rows };
}
