/**
 * FoCa (forecast then calibrate, arXiv 2508.16211) the way cache-dit codes it: a Heun-like step from the latest computed
 * tensor A with the differences A − A' of the computed tensors and F − F' of the latest two values, own forecasts
 * among them. Here the own forecasts are unrolled, so that only computed tensors are remembered.
 */
import { type Forecaster, newest } from './forecaster.ts';

/** Steps over which the Heun-like step is trusted; beyond them the forecast falls back towards A. */
const HORIZON = 3;

/**
 * The recursion reaches back through all own forecasts. It is exact while a request has computed no more than `history`
 * steps; what is dropped then fades by about half with every computed step.
 */
export function foca({ history }: { history: number }): Forecaster {
  return {
    name: 'foca',
    historySize: history,
    needs: {},
    forecast: ({ positions, target }) => ({ weights: focaWeights(positions, target) }),
  };
}

/** Every step between two computed ones counts as forecast: that is what a step is that was not computed. */
function focaWeights(positions: readonly number[], target: number): Float64Array {
  const unit = (index: number) => Float64Array.from(positions, (_, j) => (j === index ? 1 : 0));
  let forecast = newest(positions.length);
  let before: Float64Array | undefined; // F', the value before the latest
  let latest: Float64Array | undefined; // F
  for (let k = positions.length - 1; k >= 0; k--) {
    const anchor = unit(k);
    before = latest;
    latest = anchor;
    forecast = anchor;
    const end = k === 0 ? target : positions[k - 1]! - 1;
    for (let step = positions[k]! + 1; step <= end; step++) {
      if (before === undefined || k + 1 === positions.length) break;
      forecast = advance({ anchor, previous: unit(k + 1), latest, before, elapsed: step - positions[k]! });
      [before, latest] = [latest, forecast];
    }
  }
  return forecast;
}

function advance(args: {
  anchor: Float64Array;
  previous: Float64Array;
  latest: Float64Array;
  before: Float64Array;
  elapsed: number;
}): Float64Array {
  const { anchor, previous, latest, before, elapsed } = args;
  const reach = elapsed <= HORIZON ? elapsed / 2 : (HORIZON / elapsed) * (HORIZON / 2);
  return anchor.map((weight, j) => weight + reach * (weight - previous[j]! + latest[j]! - before[j]!));
}
