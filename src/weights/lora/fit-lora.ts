/** Checks what a LoRA's file holds against a model's weights, and makes of it what programs multiply with. */
import { DejaDitError, nearestName } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { dims, floatTensor, type Tensor } from '../../tensor/tensor.ts';
import type { Weights } from '../weight-store.ts';
import type { LoraLayer } from './lora-file.ts';
import type { LowRankPair } from './lora-weights.ts';

export interface FitOptions {
  weights: Weights;
  /** The LoRA's file, for error messages. */
  origin: string;
}

/**
 * @returns pairs by weight, in float32
 * @throws DejaDitError NOT_FOUND listing layers that the model has not; UNSUPPORTED, SHAPE_MISMATCH or INVALID_FILE naming the layer
 */
export function fitLora(
  layers: ReadonlyMap<string, LoraLayer>,
  { weights, origin }: FitOptions,
): Map<string, LowRankPair> {
  const unknown = [...layers.keys()].filter((module) => !weights.info(`${module}.weight`));
  if (unknown.length > 0) throw unknownLayers(unknown, weights, origin);
  return new Map(
    [...layers].map(([module, layer]) => {
      const weight = `${module}.weight`;
      const where = { path: `${origin}: ${module}` };
      const { shape } = weights.info(weight)!;
      if (shape.length !== 2)
        throw new DejaDitError('UNSUPPORTED', `is no linear layer: its weight is [${shape}]`, where);
      const [out, inner] = dims({ shape }, 2);
      const rank = layer.down.dim(0);
      const check = (what: string, tensor: Tensor, expected: readonly number[]) => {
        if (String(tensor.shape) === String(expected)) return;
        const message = `the ${what} matrix is [${tensor.shape}], a layer of weight [${shape}] needs [${expected}]`;
        throw new DejaDitError('SHAPE_MISMATCH', message, where);
      };
      check('down', layer.down, [rank, inner]);
      check('up', layer.up, [out, rank]);
      const numbers = (what: string, tensor: Tensor, scale: number) => {
        if (!/^b?float(16|32|64)$/.test(tensor.dtype))
          throw new DejaDitError('UNSUPPORTED', `the ${what} matrix is ${tensor.dtype}, not floating-point`, where);
        const data = Float32Array.from(tensor.float().f32, (x) => x * scale);
        if (data.every(Number.isFinite)) return floatTensor(data, tensor.shape);
        throw new DejaDitError('INVALID_FILE', `the ${what} matrix holds NaN or infinite values`, where);
      };
      const pair = { down: numbers('down', layer.down, 1), up: numbers('up', layer.up, layer.scale) };
      return [weight, pair] as const;
    }),
  );
}

function unknownLayers(unknown: readonly string[], weights: Weights, origin: string): DejaDitError {
  const modules = new Set(weights.names.map((name) => name.replace(/\.weight(\.\w+)?$/, '')));
  const shown = unknown.slice(0, 3).map((name) => {
    const nearest = nearestName(name, modules);
    return quote(name) + (nearest === undefined ? '' : ` (did you mean ${nearest}?)`);
  });
  const more = unknown.length > 3 ? ` and ${unknown.length - 3} more` : '';
  return new DejaDitError('NOT_FOUND', `is for layers that this model has not: ${shown.join(', ')}${more}`, {
    path: origin,
  });
}
