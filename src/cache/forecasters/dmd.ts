/**
 * Dynamic mode decomposition (Schmid 2010): the linear map that takes each snapshot to the next is identified in the
 * snapshots' own span, and its powers, fractional ones too, are the forecast. Everything is done on the Gram matrix of
 * the snapshots (method of snapshots): tensors of any size cost the same.
 */

import { eigen, matrixPowerTimes } from '../../tensor/linear-algebra/eigen.ts';
import { multiply, type SmallMatrix, transpose } from '../../tensor/linear-algebra/small-matrix.ts';
import { symmetricEigen } from '../../tensor/linear-algebra/symmetric-eigen.ts';
import { type Forecast, type Forecaster, type ForecastInput, newest } from './forecaster.ts';
import { type Gram, plainGram } from './gram.ts';
import { taylorWeights } from './taylorseer.ts';

/** Below this an oscillation cannot be told from a decay. */
const MIN_SNAPSHOTS = 4;
/** Singular values below this share of the largest are noise. */
const NOISE_FLOOR = 1e-4;
/** Singular values below this share cannot be told from 0 by a Gram matrix in double precision. */
const ROUNDING_FLOOR = 1e-7;

export interface DmdOptions {
  history: number;
  /** 0: by the noise floor. */
  rank: number;
  ridge: number;
  lag?: number;
}

export function dmd(options: DmdOptions): Forecaster {
  return {
    name: 'dmd',
    historySize: options.history,
    needs: { residual: true },
    forecast: (input) => dmdForecast(input, options),
  };
}

function dmdForecast(input: ForecastInput, options: DmdOptions): Forecast {
  const { positions, target, residual } = input;
  if (residual === undefined) throw new TypeError('the dmd forecaster needs the Gram of the remembered tensors');
  const spacing = positions[0]! - (positions[1] ?? positions[0]!);
  let even = 1;
  while (even < positions.length && positions[even - 1]! - positions[even]! === spacing) even++;
  if (even < MIN_SNAPSHOTS) {
    return {
      weights: taylorWeights({ ...input, order: 1, lag: options.lag }),
      note: `${even} of the ${MIN_SNAPSHOTS} equally spaced snapshots it takes: Taylor of order 1`,
    };
  }

  const ahead = (target - positions[0]!) / spacing;
  const modal = modalWeights({ gram: residual, count: even, ahead, ...options });
  if (modal === undefined || !modal.every(Number.isFinite)) {
    return { weights: newest(positions.length), note: 'the snapshots determine no modes: re-use' };
  }
  return { weights: Float64Array.from(positions, (_, i) => modal[i] ?? 0) };
}

/**
 * Weights on the newest `count` tensors, newest first. In oldest-first notation: X = all but the newest, X' = all but
 * the oldest, X = UΣVᵀ cut to rank r, P = VΣ⁻¹; the map in the span is Ã = UᵀX'P, β = argmin ‖X'Pβ − newest‖, and the
 * forecast is X'P Ãᵏ β. (cache-dit writes Ãᵏ as WΛᵏW⁻¹ and fits in the modes X'PW, which is the same.)
 */
function modalWeights(args: { gram: Gram; count: number; ahead: number; rank: number; ridge: number }) {
  const { count, ahead } = args;
  const inner = plainGram(args.gram);
  const pairs = count - 1;
  // products of snapshots, oldest first: column i of X is tensor count - 1 - i
  const products = (shiftA: number, shiftB: number): SmallMatrix =>
    indices(pairs).map((i) => indices(pairs).map((j) => inner[count - 1 - i - shiftA]![count - 1 - j - shiftB]!));

  const { values, vectors } = symmetricEigen(Float64Array.from(products(0, 0).flat()), pairs);
  const singular = Array.from(values, (value) => Math.sqrt(Math.max(value, 0)));
  if (!(singular[0]! > 0)) return undefined;
  const above = (floor: number) => singular.filter((sigma) => sigma > floor * singular[0]!).length;
  const rank = args.rank > 0 ? Math.min(args.rank, above(ROUNDING_FLOOR)) : above(NOISE_FLOOR);
  const inverse = singular.map((sigma) => 1 / (sigma + args.ridge));

  const leading = vectors.slice(0, rank);
  const P = indices(pairs).map((i) => leading.map((vector, k) => vector[i]! * inverse[k]!));
  // U = XVΣ⁻¹ exactly, without the ridge
  const U = indices(pairs).map((i) => leading.map((vector, k) => vector[i]! / singular[k]!));
  const map = multiply(multiply(transpose(U), products(0, 1)), P);
  const fitMatrix = multiply(multiply(transpose(P), products(1, 1)), P);
  const fitTarget = multiply(transpose(P), products(1, 1)).map((row) => row[pairs - 1]!);
  const beta = leastSquares(fitMatrix, fitTarget);

  const modes = eigen(map);
  if (modes === undefined) return undefined;
  const advanced = matrixPowerTimes({ ...modes, power: ahead, vector: beta });
  // row i of P weighs snapshot i + 1, oldest first
  return P.map((row) => row.reduce((total, entry, k) => total + entry * advanced[k]!, 0)).reverse();
}

/** Minimum-norm solution of AᵀA β = Aᵀy, directions without weight left out. */
function leastSquares(matrix: SmallMatrix, target: readonly number[]): number[] {
  const { values, vectors } = symmetricEigen(Float64Array.from(matrix.flat()), target.length);
  const solution = new Array<number>(target.length).fill(0);
  for (const [k, vector] of vectors.entries()) {
    if (values[k]! <= 1e-14 * values[0]!) continue;
    const share = target.reduce((total, entry, i) => total + vector[i]! * entry, 0) / values[k]!;
    for (let i = 0; i < solution.length; i++) solution[i]! += share * vector[i]!;
  }
  return solution;
}

const indices = (length: number) => Array.from({ length }, (_, i) => i);
