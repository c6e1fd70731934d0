/**
 * Probe-corrected Taylor. The first blocks are computed on every step, so their residual is known even where the rest
 * is skipped: what the Taylor forecast misses of it is explained, by ridge regression, with the differences between the
 * remembered first-block residuals, and the same combination of differences corrects the forecast of the middle blocks.
 */
import type { Forecaster } from './forecaster.ts';
import { correctedWeights } from './gram.ts';
import { taylorWeights } from './taylorseer.ts';

export function probe(options: {
  order: number;
  snapshots: number;
  lambda: number;
  gain: number;
  lag?: number;
}): Forecaster {
  const { order, snapshots, lambda, gain, lag } = options;
  return {
    name: `probe ${order}`,
    historySize: snapshots,
    needs: { probe: true },
    forecast(input) {
      const prior = taylorWeights({ ...input, order, lag });
      if (input.probe === undefined) throw new TypeError('the probe forecaster needs the Gram of the probes');
      return { weights: correctedWeights({ prior, gram: input.probe, lambda, gain }) };
    },
  };
}
