/** Which layers of a model are quantised, to what, and why the others are not. Names and shapes decide; no data is read. */
import { DejaDitError } from '../errors/errors.ts';
import { dims, type Shape } from '../tensor/tensor.ts';
import { describeFormat, misfit, type WeightFormat } from '../weights/formats/weight-format.ts';
import type { WeightInfo } from '../weights/weight-info.ts';
import type { QuantizeConfig } from './config/config.ts';
import { formatOf, perTensorFallback, type QuantType } from './config/quant-type.ts';

export interface PlannedLayer {
  /** Module path. */
  readonly name: string;
  /** [out, in]. */
  readonly shape: Shape;
  readonly type: QuantType;
  readonly format: WeightFormat;
  /** The type that was asked for, where this one takes its place, and why. */
  readonly fallback?: { readonly from: QuantType; readonly reason: string };
}

/** A linear layer that stays as it is. */
export interface KeptLayer {
  readonly name: string;
  readonly shape: Shape;
  readonly reason: string;
}

export interface QuantizePlan {
  readonly layers: readonly PlannedLayer[];
  readonly kept: readonly KeptLayer[];
}

export interface PlanInput {
  /** Every weight of the model. */
  weights: Iterable<readonly [name: string, info: WeightInfo]>;
  /** Names of the model's block lists; undefined for models without, whose numbered modules count as blocks. */
  blockLists: readonly string[] | undefined;
  config: QuantizeConfig;
  /** For error messages. */
  path: string;
}

/**
 * @throws DejaDitError UNSUPPORTED naming the layers whose shape the type cannot serve, if there is to be no fallback;
 *   INVALID_CONFIG for repeated blocks that the model has not, or if no layer is left
 */
export function planLayers({ weights, blockLists, config, path }: PlanInput): QuantizePlan {
  checkBlockNames(config.repeatedBlocks, blockLists, path);
  const layers: PlannedLayer[] = [];
  const kept: KeptLayer[] = [];
  const misfits: string[] = [];
  for (const [weight, { shape, dtype, format }] of weights) {
    const isLinear = weight.endsWith('.weight') && shape.length === 2 && /^b?float(16|32)$/.test(dtype);
    if (!isLinear) continue;
    const name = weight.slice(0, -'.weight'.length);
    const reason = format ? `is ${describeFormat(format)} already` : whyKept({ name, shape, blockLists, config });
    if (reason !== undefined) {
      kept.push({ name, shape, reason });
      continue;
    }
    const layer = chooseFormat({ name, shape, config });
    if (typeof layer === 'string') misfits.push(`${name} (${layer})`);
    else layers.push(layer);
  }
  if (misfits.length > 0) {
    const shown = misfits.slice(0, 5).join(', ');
    const more = misfits.length > 5 ? ` and ${misfits.length - 5} more` : '';
    throw new DejaDitError(
      'UNSUPPORTED',
      `${config.quantType} cannot hold ${shown}${more}: exclude them, or set perTensorFallback`,
      { path },
    );
  }
  if (layers.length === 0) throw nothingLeft(kept, path);
  return { layers, kept };
}

function checkBlockNames(wanted: readonly string[], known: readonly string[] | undefined, path: string): void {
  const unknown = wanted.find((name) => !known?.includes(name));
  if (unknown === undefined) return;
  const lists = known ? `its block lists are ${known.join(', ')}` : 'this model has no block lists';
  throw new DejaDitError('INVALID_CONFIG', `repeatedBlocks names '${unknown}'; ${lists}`, { path });
}

type LayerQuestion = { name: string; shape: Shape; config: QuantizeConfig };

function whyKept({
  name,
  shape,
  blockLists,
  config,
}: LayerQuestion & Pick<PlanInput, 'blockLists'>): string | undefined {
  if (lookupTables.test(name)) return 'is a lookup table';
  const searched = withoutModelPrefix(name);
  const excluded = config.excludeLayers.find((part) => searched.includes(part));
  if (excluded !== undefined) return `excludeLayers has '${excluded}'`;
  if (config.regionalQuantize) {
    const regions = config.repeatedBlocks.length > 0 ? config.repeatedBlocks : blockLists;
    const inside = regions ? regions.some((list) => name.startsWith(`${list}.`)) : /\.\d+\./.test(name);
    if (!inside) return 'is outside the repeated blocks';
  }
  const [outFeatures, inFeatures] = dims({ shape }, 2);
  if (config.filterFn && !config.filterFn({ name, outFeatures, inFeatures })) return 'filterFn rejects it';
  return undefined;
}

/** Two-dimensional weights whose rows are picked by index, in text encoders. */
const lookupTables = /(^|\.)(shared|relative_attention_bias|(\w+_)?embed(ding|dings|_tokens)?)$/;

/** `model.layers.0`, `text_model.encoder` and FLUX.3's `mode_blocks.image` must not count as modulations, which `mod` excludes. */
function withoutModelPrefix(name: string): string {
  return name.replace(/(^|\.)(\w+_)?mode(l|_blocks)(?=\.)/g, '$1');
}

/** The layer's type and format, or why there is none. */
function chooseFormat({ name, shape, config }: LayerQuestion): PlannedLayer | string {
  const type = config.precisionPlan.find(([part]) => name.includes(part))?.[1] ?? config.quantType;
  const format = formatOf(type, config);
  const reason = misfit(format, shape);
  if (reason === undefined) return { name, shape, type, format };
  if (!config.perTensorFallback) return reason;
  const other = perTensorFallback(type);
  return { name, shape, type: other, format: formatOf(other, config), fallback: { from: type, reason } };
}

function nothingLeft(kept: readonly KeptLayer[], path: string): DejaDitError {
  const counts = new Map<string, number>();
  for (const { reason } of kept) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const reasons = [...counts].map(([reason, count]) => `${count} × ${reason}`).join(', ');
  return new DejaDitError('INVALID_CONFIG', `no layer is left to quantise${reasons ? `: ${reasons}` : ''}`, { path });
}
