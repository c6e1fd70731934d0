/**
 * Checkpoints with quantised weights: ordinary safetensors that hold the parts, and beside them a `quant_config.json` that says
 * which weight is in which format. Written by `quantize/`, read by `openWeights`.
 */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { isPlainObject, readJsonFile } from '../../files/json.ts';
import { joinPath } from '../../files/paths.ts';
import type { Shape } from '../../tensor/tensor.ts';
import { derivedSource, type WeightSource } from '../weight-source.ts';
import { misfit, parseFormat, partName, partsOf, type WeightFormat } from './weight-format.ts';

export const quantConfigName = 'quant_config.json';
const ownFormat = 'deja_dit_quant_config';
const ownVersion = 1;

export type QuantizedLayers = ReadonlyMap<string, { format: WeightFormat; shape: Shape }>;

export interface QuantConfigFile {
  /** The type that was asked for, for people. */
  quantType: string;
  layers: QuantizedLayers;
}

/** The content of `quant_config.json`. */
export function encodeQuantConfig({ quantType, layers }: QuantConfigFile): string {
  const weights = Object.fromEntries([...layers].map(([name, { format, shape }]) => [name, { format, shape }]));
  return `${JSON.stringify({ format: ownFormat, version: ownVersion, quant_type: quantType, weights }, null, 1)}\n`;
}

/**
 * Reads the `quant_config.json` of a folder.
 * @throws DejaDitError UNSUPPORTED for the layout of another program, INVALID_FILE for a file that is wrong
 */
export async function readQuantConfig(folder: string): Promise<QuantConfigFile> {
  const path = joinPath(folder, quantConfigName);
  const json = await readJsonFile(path, { uniqueKeys: true });
  const { format, version, quant_type: quantType, weights } = json;
  if (format !== ownFormat) {
    const whose =
      typeof format === 'string' && format.startsWith('cache_dit')
        ? 'weights packed by cache-dit for its CUDA kernels'
        : `the unknown layout ${quote(format)}`;
    throw new DejaDitError(
      'UNSUPPORTED',
      `describes ${whose}; quantise the original model with 'deja-dit quantize' instead`,
      { path },
    );
  }
  if (version !== ownVersion) {
    throw new DejaDitError('UNSUPPORTED', `has version ${quote(version)}, only ${ownVersion} can be read`, { path });
  }
  const bad = (message: string) => new DejaDitError('INVALID_FILE', message, { path });
  if (typeof quantType !== 'string' || !isPlainObject(weights)) throw bad('lacks quant_type or weights');
  const layers = new Map<string, { format: WeightFormat; shape: Shape }>();
  for (const [weight, entry] of Object.entries(weights)) {
    const { format: kind, shape } = isPlainObject(entry) ? entry : {};
    const isMatrix = Array.isArray(shape) && shape.length === 2 && shape.every((n) => Number.isSafeInteger(n) && n > 0);
    if (!isMatrix) throw bad(`weight ${quote(weight)}: its shape must be [out, in], not ${quote(shape)}`);
    const parsed = parseFormat(kind, { file: path, weight });
    const reason = misfit(parsed, shape);
    if (reason !== undefined) throw bad(`weight ${quote(weight)}: ${reason}`);
    layers.set(weight, { format: parsed, shape });
  }
  return { quantType, layers };
}

/**
 * The same weights, with the layers known as quantised.
 * @throws DejaDitError INVALID_FILE naming the part that is missing or has another type or shape
 */
export function withQuantizedLayers(source: WeightSource, layers: QuantizedLayers, folder: string): WeightSource {
  for (const [weight, { format, shape }] of layers) {
    for (const [part, spec] of Object.entries(partsOf(format, shape))) {
      const name = partName(weight, part);
      const found = source.has(name) ? source.info(name) : undefined;
      if (found?.dtype === spec.dtype && found.shape.join() === spec.shape.join()) continue;
      const has = found ? `is ${found.dtype} [${found.shape}]` : 'is missing';
      throw new DejaDitError(
        'INVALID_FILE',
        `tensor ${quote(name)} ${has}, its format needs ${spec.dtype} [${spec.shape}]`,
        { path: joinPath(folder, quantConfigName) },
      );
    }
  }
  return derivedSource(source, { quantized: layers });
}

/**
 * Refuses weights that another program has quantised in a way that is not read, which would otherwise show as missing tensors.
 * @param config the model's `config.json`
 * @throws DejaDitError UNSUPPORTED naming the method
 */
export function refuseForeignQuantization(config: Readonly<Record<string, unknown>>, path: string): void {
  const found = config['quantization_config'];
  if (found === undefined || found === null) return;
  const method = isPlainObject(found) ? (found['quant_method'] ?? found['quant_type']) : found;
  // Read by what lies beside each weight, see `bitsandbytes/`.
  if (method === 'bitsandbytes') return;
  throw new DejaDitError(
    'UNSUPPORTED',
    `its weights are quantised by ${quote(method)}; load the original model and quantise it with 'deja-dit quantize'`,
    { path },
  );
}
