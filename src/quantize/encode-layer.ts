/** One layer of a plan: its weight's parts, from the disk cache where they are there, and what the rounding costs. */

import { cachedLayer, defaultCacheDir } from '#quantize/checkpoint/layer-cache';
import { DejaDitError } from '../errors/errors.ts';
import type { ProgramCache } from '../runtime/program-cache.ts';
import type { Matrix } from '../tensor/linear-algebra/matrix.ts';
import { backendProducts } from './backend-products.ts';
import type { Observation } from './calibrate.ts';
import type { QuantizeConfig } from './config/config.ts';
import { decode, encode } from './formats/encode.ts';
import { type Parts, relativeError } from './formats/scales.ts';
import type { SvdQuantOptions } from './formats/svdquant.ts';
import type { PlannedLayer } from './plan.ts';
import type { QuantizedLayer } from './report.ts';
import { smoothFactors } from './smoothing.ts';

export interface EncodeLayerOptions {
  config: QuantizeConfig;
  /** Where large products are computed. */
  programs: ProgramCache;
  /** What the layer was given, where somebody looked. */
  observation?: Observation | undefined;
}

export async function encodeLayer(
  w: Matrix,
  layer: PlannedLayer,
  { config, programs, observation }: EncodeLayerOptions,
): Promise<{ parts: Parts; report: QuantizedLayer }> {
  const products = backendProducts(programs);
  const { format } = layer;
  const { refineIterations, calibratePrecision } = config.svdq;
  const options: SvdQuantOptions = {
    smooth: format.kind === 'low-rank' && format.smooth ? smoothing(w, layer, { config, observation }) : undefined,
    method: calibratePrecision === 'low' ? 'randomised' : 'exact',
    refineIterations,
    products,
  };
  const make = () => encode(w, format, options);
  const folder = config.diskCache === true ? defaultCacheDir() : config.diskCache;
  const isSlow = format.kind === 'low-rank';
  const parts = isSlow && folder ? await cachedLayer({ folder, weight: w, format, options }, make) : await make();
  if (!config.measure) return { parts, report: layer };
  const decoded = await decode(parts, format, { columns: w.columns, products });
  return { parts, report: { ...layer, weightError: relativeError(decoded.data, w.data) } };
}

/** Whether a layer's inputs must be observed before it can be quantised. */
export function needsActivations({ format }: PlannedLayer, { svdq: { smoothStrategy } }: QuantizeConfig): boolean {
  return format.kind === 'low-rank' && (smoothStrategy === 'activation' || smoothStrategy === 'few_shot');
}

function smoothing(
  weight: Matrix,
  layer: PlannedLayer,
  { config, observation }: Pick<EncodeLayerOptions, 'config' | 'observation'>,
): Float32Array | undefined {
  if (needsActivations(layer, config) && !observation) {
    throw new DejaDitError('INVALID_CONFIG', `does not reach the layer ${layer.name}`, {
      path: 'quantizeConfig.calibrateFn',
    });
  }
  const { smoothStrategy: strategy, relaxation } = config.svdq;
  return smoothFactors({ strategy, weight, activations: observation?.peaks, relaxation });
}
