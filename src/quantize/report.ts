/** What became of each layer, and what that costs in accuracy. */
import { printable } from '../errors/printable.ts';
import { sizeOf } from '../tensor/tensor.ts';
import { describeFormat, formatBytes } from '../weights/formats/weight-format.ts';
import type { KeptLayer, PlannedLayer } from './plan.ts';

export interface QuantizedLayer extends PlannedLayer {
  /** ‖Ŵ − W‖ / ‖W‖ of the stored weight; if errors were measured. */
  weightError?: number;
  /** ‖ŷ − y‖ / ‖y‖ of the layer's output on observed activations; if errors were measured and there was a calibration. */
  outputError?: number;
}

export interface ComponentReport {
  /** `transformer`, or whatever the pipeline calls it. */
  readonly component: string;
  readonly className: string;
  readonly layers: readonly QuantizedLayer[];
  readonly kept: readonly KeptLayer[];
  /** Bytes of the model's weights before and after, as held in memory. */
  readonly bytes: { readonly before: number; readonly after: number };
}

export interface QuantizeReport {
  readonly components: readonly ComponentReport[];
}

/** Bytes of layers' weights in float32, and as they are held now, with scales and branches. */
export function layerBytes(layers: readonly Pick<PlannedLayer, 'shape' | 'format'>[]): {
  before: number;
  after: number;
} {
  return {
    before: layers.reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0),
    after: layers.reduce((sum, { shape, format }) => sum + formatBytes(format, shape), 0),
  };
}

/**
 * The report as lines for people: what layers became, by type; what was kept, and why; with errors, the ten worst.
 * @example
 * const report = await quantize(pipe, { quantType: 'int8_per_row' });
 * console.log(summarizeReport(report).join('\n'));
 */
export function summarizeReport({ components }: QuantizeReport): string[] {
  return components.flatMap(({ component, className, layers, kept, bytes }) => [
    `${component} (${printable(className, 100)}): ${megabytes(bytes.before)} → ${megabytes(bytes.after)}, ${ratio(bytes.after, bytes.before)}`,
    ...byKey(layers, ({ type, format, fallback }) =>
      fallback
        ? `${type} instead of ${fallback.from}, since ${fallback.reason}`
        : `${type}: ${describeFormat(format)}${isEmulated(format.kind) ? ', computed in float32' : ''}`,
    ).map(([text, group]) => {
      const { before, after } = layerBytes(group);
      return `  ${count(group)} ${text}: ${ratio(after, before)} of float32`;
    }),
    ...byKey(kept, ({ reason }) => reason).map(([reason, group]) => `  ${count(group)} kept: ${reason}`),
    ...worst(layers),
  ]);
}

function isEmulated(kind: string): boolean {
  return kind === 'float8' || kind === 'nvfp4';
}

function worst(layers: readonly QuantizedLayer[]): string[] {
  const errorOf = ({ outputError, weightError }: QuantizedLayer) => outputError ?? weightError;
  const measured = layers.filter((layer) => errorOf(layer) !== undefined);
  if (measured.length === 0) return [];
  const sorted = measured.toSorted((a, b) => errorOf(b)! - errorOf(a)!);
  const what = measured[0]!.outputError === undefined ? 'weights' : 'outputs';
  const mean = measured.reduce((sum, layer) => sum + errorOf(layer)!, 0) / measured.length;
  const percent = (error: number) => `${(100 * error).toFixed(2)} %`;
  return [
    `  relative error of ${what}: mean ${percent(mean)}, the largest:`,
    ...sorted.slice(0, 10).map((layer) => `    ${percent(errorOf(layer)!)}  ${printable(layer.name, 200)}`),
  ];
}

function byKey<T>(items: readonly T[], key: (item: T) => string): [string, T[]][] {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(key(item), [...(groups.get(key(item)) ?? []), item]);
  return [...groups];
}

function count(group: readonly unknown[]): string {
  return `${group.length} layer${group.length === 1 ? '' : 's'}`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function ratio(after: number, before: number): string {
  return `${(after / before).toFixed(3)}×`;
}
