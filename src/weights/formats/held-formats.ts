/** Holds weights of a file in formats that programs multiply with, made when they are read, where the file has them in another layout. */
import { DejaDitError, throwIfAborted } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { type Range, select } from '../../tensor/selection.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { derivedSource, type WeightSource } from '../weight-source.ts';
import type { QuantizedLayers } from './quantized-checkpoint.ts';
import { bytesOf, hasRows, partName, partsOf, type WeightFormat } from './weight-format.ts';

export interface HeldFormats {
  layers: QuantizedLayers;
  /**
   * Reads a weight as the parts of its format.
   * @param rows those that are read, of all parts that have them. Default: all
   */
  readParts(weight: string, rows?: readonly Range[]): Promise<Readonly<Record<string, Tensor>>>;
}

/** Rows of a weight in parts; those that have none are whole. */
export function rowsOfParts(
  parts: Readonly<Record<string, Tensor>>,
  { format, rows }: { format: WeightFormat; rows: readonly Range[] },
): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(parts).map(([part, tensor]) => [part, hasRows(format, part) ? select(tensor, [rows]) : tensor]),
  );
}

/** A source with parts in the place of some of its weights. */
export function withHeldFormats(source: WeightSource, { layers, readParts }: HeldFormats): WeightSource {
  if (layers.size === 0) return source;
  const weightOf = new Map<string, { weight: string; part: string }>();
  const names = source.names.flatMap((name) => {
    const layer = layers.get(name);
    if (!layer) return [name];
    return Object.keys(partsOf(layer.format, layer.shape)).map((part) => {
      weightOf.set(partName(name, part), { weight: name, part });
      return partName(name, part);
    });
  });
  // What is read for one part serves the others: they are asked for together.
  const pending = new Map<string, { parts: ReturnType<HeldFormats['readParts']>; left: Set<string> }>();
  const readPart = async (name: string): Promise<Tensor> => {
    const { weight, part } = weightOf.get(name)!;
    let reading = pending.get(weight);
    if (!reading?.left.delete(part)) {
      const { format, shape } = layers.get(weight)!;
      const left = new Set(Object.keys(partsOf(format, shape)));
      left.delete(part);
      reading = { parts: readParts(weight), left };
      pending.set(weight, reading);
    }
    if (reading.left.size === 0) pending.delete(weight);
    return (await reading.parts)[part]!;
  };
  const { stored: _, ...plain } = derivedSource(source, {});
  return {
    ...plain,
    names,
    quantized: new Map([...(source.quantized ?? []), ...layers]),
    has: (name) => weightOf.has(name) || (source.has(name) && !layers.has(name)),
    info(name) {
      const found = weightOf.get(name);
      if (!found) return source.info(name);
      const { format, shape } = layers.get(found.weight)!;
      const spec = partsOf(format, shape)[found.part]!;
      return { ...spec, bytes: bytesOf(spec), file: source.info(found.weight).file };
    },
    read: (name, options) => (weightOf.has(name) ? readPart(name) : source.read(name, options)),
    async readPart(name, selection, options) {
      const found = weightOf.get(name);
      if (!found) return source.readPart(name, selection, options);
      const { weight, part } = found;
      const { format } = layers.get(weight)!;
      const [rows, ...others] = selection;
      if (!rows || !hasRows(format, part)) return select((await readParts(weight))[part]!, selection);
      return select((await readParts(weight, rows))[part]!, [undefined, ...others]);
    },
    async readInto(name, target) {
      if (!weightOf.has(name)) return source.readInto(name, target);
      const { buffer, byteOffset, byteLength } = (await readPart(name)).data;
      if (byteLength !== target.length)
        throw new DejaDitError('RUNTIME', `part ${quote(name)} has ${byteLength} bytes, not ${target.length}`);
      target.set(new Uint8Array(buffer, byteOffset, byteLength));
    },
    async readMany(wanted, onTensor, options) {
      const all = [...new Set(wanted)];
      await source.readMany(
        all.filter((name) => !weightOf.has(name)),
        onTensor,
        options,
      );
      for (const name of all) {
        if (!weightOf.has(name)) continue;
        throwIfAborted(options?.signal);
        await onTensor(name, await readPart(name));
      }
    },
  };
}
