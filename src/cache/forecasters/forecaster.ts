/**
 * What a forecaster is: a function from the steps of the remembered tensors (and, where it asks for them, their inner
 * products) to one weight per remembered tensor. The forecast is the weighted sum; who keeps the tensors and adds them
 * up is not its business, so it costs microseconds and runs the same for every backend.
 */
import type { Gram } from './gram.ts';

export interface ForecastInput {
  /** Steps at which the remembered tensors were computed, newest first; at least one. */
  positions: readonly number[];
  /** Step of the first computed tensor since the history began, remembered or not. */
  first: number;
  /** Step to forecast: after `positions[0]`. */
  target: number;
  /** Gram of the remembered probes (residuals of the first blocks) and the one of this step, of one batch element. */
  probe?: Gram;
  /** Gram of the remembered tensors themselves, of one batch element. */
  residual?: Gram;
}

export interface Forecast {
  /** One per remembered tensor, newest first. */
  weights: Float64Array;
  /** Why this is not the forecast the method's name promises, where it is not ("... : Taylor of order 1"). */
  note?: string;
}

export interface Forecaster {
  readonly name: string;
  /** Tensors to remember: the latest so many computed ones. */
  readonly historySize: number;
  /** Which Gram matrices `forecast` must be given. With either, weights are per batch element: call once for each. */
  readonly needs: { readonly probe?: true; readonly residual?: true };
  forecast(input: ForecastInput): Forecast;
}

/** The newest tensor as it is. */
export const reuse: Forecaster = {
  name: 'reuse',
  historySize: 1,
  needs: {},
  forecast: ({ positions }) => ({ weights: newest(positions.length) }),
};

/** Weights that take the newest of `count` remembered tensors. */
export function newest(count: number): Float64Array {
  const weights = new Float64Array(count);
  weights[0] = 1;
  return weights;
}
