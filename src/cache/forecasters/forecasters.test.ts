import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseCalibratorConfig } from '../config/calibrator-config.ts';
import { cacheDit } from '../decide/cache-dit.ts';
import { createForecaster } from './create.ts';
import type { Forecaster } from './forecaster.ts';
import { correctedWeights, type Gram, innovation } from './gram.ts';
import { learned, parseLearnedCoefficients } from './learned.ts';
import { taylorSeer } from './taylorseer.ts';

type Vector = readonly number[];
const fixture = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../../fixtures/cache/${name}`, import.meta.url), 'utf8'));

const dot = (a: Vector, b: Vector) => a.reduce((total, value, i) => total + value * b[i]!, 0);
const minus = (a: Vector, b: Vector) => a.map((value, i) => value - b[i]!);
const norm = (a: Vector) => Math.sqrt(dot(a, a));
const combine = (weights: ArrayLike<number>, vectors: readonly Vector[]) =>
  vectors[0]!.map((_, i) => vectors.reduce((total, vector, k) => total + weights[k]! * vector[i]!, 0));
const gramOf = (vectors: readonly Vector[]): Gram => {
  const basis = vectors.map((vector, i) => (i === 0 ? vector : minus(vector, vectors[0]!)));
  return basis.map((a) => basis.map((b) => dot(a, b)));
};
const expectClose = (actual: Vector, expected: Vector, tolerance: number) =>
  expect(norm(minus(actual, expected)) / Math.max(norm(expected), 1e-30)).toBeLessThan(tolerance);

function random(seed: number) {
  let state = seed;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, vector: (length: number) => Array.from({ length }, normal) };
}

/** Runs a forecaster as a request does: `computed` steps give their true value, the others are forecast. */
function run(args: {
  forecaster: Forecaster;
  truth: (step: number) => Vector;
  computed: (step: number) => boolean;
  steps: number;
}) {
  const { forecaster, truth, computed, steps } = args;
  let history: { step: number; value: Vector }[] = [];
  let first = -1;
  return Array.from({ length: steps }, (_, step) => {
    if (computed(step)) {
      if (history.length === 0) first = step;
      history = [{ step, value: truth(step) }, ...history].slice(0, forecaster.historySize);
      return truth(step);
    }
    const vectors = history.map(({ value }) => value);
    const positions = history.map((entry) => entry.step);
    const { weights } = forecaster.forecast({ positions, first, target: step, residual: gramOf(vectors) });
    return combine(weights, vectors);
  });
}
const scalar = (series: Vector[]) => series.map(([value]) => value!);
/** Warm-up steps, then cycles of `cached` cached steps and a computed one. */
const cycle = (warmup: number, cached: number) => (step: number) =>
  step < warmup || (step - warmup) % (cached + 1) === cached;

describe('TaylorSeer', () => {
  const cases: { order: number; pattern: string; updates: (Vector | null)[]; approximations: (Vector | null)[] }[] =
    fixture('taylorseer.json').cases;

  it('in compat mode equals every recorded forecast of cache-dit, lag included', () => {
    expect(cases.length).toBe(24);
    for (const { order, pattern, updates, approximations } of cases) {
      const forecaster = taylorSeer({ order, lag: cacheDit.taylorLag });
      const steps = pattern.length;
      const actual = run({
        forecaster,
        truth: (step) => updates[step]!,
        computed: (step) => pattern[step] === '1',
        steps,
      });
      approximations.forEach((expected, step) => {
        if (expected) expectClose(actual[step]!, expected, 2e-6);
      });
    }
  });

  // H = 2 + 3 k^p on computed steps of cache-dit's own example: three middle blocks that each add k^p
  const H = (args: { order: number; power: number; warmup: number; steps: number; lag?: number }) =>
    scalar(
      run({
        forecaster: taylorSeer(args),
        truth: (step) => [3 * step ** args.power],
        computed: cycle(args.warmup, 3),
        steps: args.steps,
      }),
    ).map((value) => 2 + value);

  it.each([
    [1, [71, 92, 113], [230, 266, 302]],
    [2, [74, 104, 140], [231.875, 273.5, 318.875]],
    [3, [74, 104, 140], [231.78125, 272.75, 316.34375]],
  ])('order %i reproduces the table for k² (W 5, MC 3)', (order, early, late) => {
    const h = H({ order, power: 2, warmup: 5, steps: 12, lag: cacheDit.taylorLag });
    expect(h.slice(5, 8)).toEqual(early);
    expect(h.slice(9, 12)).toEqual(late);
  });

  it('lags by a step in compat mode only: after two or three warm-up steps cache-dit just re-uses', () => {
    const slice = (warmup: number, lag?: number) =>
      H({ order: 1, power: 1, warmup, steps: warmup + 3, lag }).slice(warmup);
    expect(slice(2, cacheDit.taylorLag)).toEqual([5, 5, 5]);
    expect(slice(3, cacheDit.taylorLag)).toEqual([8, 8, 8]);
    expect(slice(4, cacheDit.taylorLag)).toEqual([14, 17, 20]);
    expect(slice(2)).toEqual([8, 11, 14]);
    expect(slice(3)).toEqual([11, 14, 17]);
  });

  it('weights add up to 1, whatever the order and the gaps', () => {
    const { weights } = taylorSeer({ order: 3 }).forecast({ positions: [11, 8, 7, 2], first: 0, target: 14 });
    expect(weights.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
    expect([...weights].every((weight) => Math.abs(weight) > 1e-3)).toBe(true);
  });
});

/** FoCa with its own forecasts remembered as values, step by step, as the method is defined. */
class FocaState {
  anchor?: Vector;
  previous?: Vector;
  latest?: Vector;
  before?: Vector;
  elapsed = 0;
  update(value: Vector) {
    [this.previous, this.anchor] = [this.anchor, value];
    [this.before, this.latest] = [this.latest, value];
    this.elapsed = 0;
    return value;
  }
  approximate() {
    const e = ++this.elapsed;
    const { anchor, previous, latest, before } = this;
    if (!anchor || !previous || !latest || !before) return anchor!;
    const p = anchor.map((a, i) => {
      const d = a - previous[i]! + latest[i]! - before[i]!;
      return e <= 3 ? a + (e / 2) * d : (3 / e) * (a + 1.5 * d) + (1 - 3 / e) * a;
    });
    [this.before, this.latest] = [latest, p];
    return p;
  }
}

describe('FoCa', () => {
  const forecaster = createForecaster(parseCalibratorConfig({ type: 'foca' }));

  it('reproduces the known values on linear and quadratic signals', () => {
    const from01 = { forecaster, computed: (step: number) => step < 2, steps: 4 };
    expect(scalar(run({ ...from01, truth: (k) => [k] })).slice(2)).toEqual([2, 3]);
    expect(scalar(run({ ...from01, truth: (k) => [k * k] })).slice(2)).toEqual([2, 3]);
    const slope3 = run({ forecaster, truth: (k) => [3 * k + 2], computed: (k) => k < 2 || k === 7, steps: 11 });
    expect(
      scalar(slope3)
        .slice(2, 7)
        .map((value) => Number(value.toFixed(4))),
    ).toEqual([8, 11, 14, 11.75, 5.675]);
    expectClose(scalar(slope3).slice(8), [40.6625, 58.6625, 77], 1e-12);
  });

  it('with its own forecasts unrolled equals the recursion on random vectors', () => {
    const { uniform, vector } = random(7);
    for (let round = 0; round < 40; round++) {
      const pattern = Array.from({ length: 24 }, (_, step) => step === 0 || uniform() < 0.35);
      const values = pattern.map(() => vector(5));
      const state = new FocaState();
      const expected = pattern.map((computed, step) => (computed ? state.update(values[step]!) : state.approximate()));
      const actual = run({ forecaster, truth: (step) => values[step]!, computed: (step) => pattern[step]!, steps: 24 });
      pattern.forEach((_, step) => {
        const computedSoFar = pattern.slice(0, step).filter(Boolean).length;
        if (computedSoFar <= forecaster.historySize) expectClose(actual[step]!, expected[step]!, 1e-12);
      });
    }
  });

  it('beyond the remembered tensors stays near the recursion on a smooth trajectory', () => {
    const truth = (t: number) => [Math.cos(0.15 * t), Math.sin(0.15 * t), 0.97 ** t];
    for (const every of [2, 3, 4, 5, 6]) {
      const computed = (step: number) => step < 4 || step % every === 0;
      const state = new FocaState();
      const actual = run({ forecaster, truth, computed, steps: 50 });
      actual.forEach((value, step) => {
        const expected = computed(step) ? state.update(truth(step)) : state.approximate();
        expectClose(value, expected, 2e-3);
      });
    }
  });
});

describe('DMD', () => {
  const create = (options = {}) => createForecaster(parseCalibratorConfig({ type: 'dmd', ...options }));

  it('is exact on sums of exponentials and on an oscillation, at whole and broken horizons', () => {
    const modes = (t: number) => [2 * 0.9 ** t, 0.5 ** t, 2 * 0.9 ** t - 0.5 ** t, 1];
    const wave = (t: number) => [Math.cos(0.5 * t), Math.sin(0.5 * t)];
    for (const truth of [modes, wave]) {
      const vectors = [5, 4, 3, 2].map(truth);
      for (const k of [0.5, 1, 2, 3]) {
        const input = { positions: [5, 4, 3, 2], first: 2, target: 5 + k, residual: gramOf(vectors) };
        expectClose(combine(create().forecast(input).weights, vectors), truth(5 + k), 1e-7);
      }
    }
  });

  it('equals NumPy on recorded snapshots: SVD of the tensors there, their Gram matrix here', () => {
    const recorded: {
      kind: string;
      snapshots: Vector[];
      forecasts: { rank: number; ahead: number; values: Vector }[];
    }[] = fixture('dmd.json');
    for (const { snapshots, forecasts, kind } of recorded) {
      const vectors = [...snapshots].reverse();
      const positions = vectors.map((_, i) => 30 - 6 * i);
      for (const { rank, ahead, values } of forecasts) {
        const input = { positions, first: 0, target: 30 + 6 * ahead, residual: gramOf(vectors) };
        const { weights, note } = create({ rank }).forecast(input);
        expect(note, kind).toBeUndefined();
        expectClose(combine(weights, vectors), values, 1e-6);
      }
    }
  });

  it('uses the equally spaced newest snapshots only, and says when they are too few', () => {
    const positions = [12, 10, 8, 6, 3];
    const truth = (t: number) => [0.9 ** t, 0.5 ** t, 1];
    const vectors = positions.map(truth);
    const even = create().forecast({ positions, first: 3, target: 13, residual: gramOf(vectors) });
    expect(even.note).toBeUndefined();
    expect(even.weights[4]).toBe(0);
    expectClose(combine(even.weights, vectors), truth(13), 1e-6);
    const few = create().forecast({
      positions: [12, 10, 8, 5],
      first: 3,
      target: 13,
      residual: gramOf(vectors.slice(0, 4)),
    });
    expect(few.note).toBe('3 of the 4 equally spaced snapshots it takes: Taylor of order 1');
    expect([...few.weights]).toEqual([1.5, -0.5, 0, 0]);
  });

  it('needs no more than single precision of the Gram matrix, because it holds differences', () => {
    const { vector } = random(11);
    const [still, fading, sine, cosine] = [vector(50), vector(50), vector(50), vector(50)];
    const truth = (t: number) =>
      still.map(
        (value, i) => value + 0.1 * (0.8 ** t * fading[i]! + Math.sin(t) * sine[i]! + Math.cos(t) * cosine[i]!),
      );
    const positions = [5, 4, 3, 2, 1, 0];
    const vectors = positions.map(truth);
    const residual = gramOf(vectors).map((row) => row.map(Math.fround));
    const { weights } = create().forecast({ positions, first: 0, target: 7, residual });
    expectClose(combine(weights, vectors), truth(7), 1e-4);
  });

  it('re-uses the newest where the snapshots determine nothing', () => {
    const residual = gramOf([[0], [0], [0], [0]]);
    const { weights, note } = create().forecast({ positions: [3, 2, 1, 0], first: 0, target: 4, residual });
    expect([...weights]).toEqual([1, 0, 0, 0]);
    expect(note).toMatch(/no modes/);
  });
});

describe('probe-corrected Taylor', () => {
  const { vector } = random(3);
  const positions = [9, 6, 5];
  const probes = positions.map(() => vector(20));
  const residuals = positions.map(() => vector(20));
  const now = vector(20);
  const gram = gramOf([...probes, now]);

  it('equals the regression written out on the tensors', () => {
    const [lambda, gain] = [0.01, 0.5];
    const forecaster = createForecaster(parseCalibratorConfig({ type: 'probe', order: 2, lambda, gain }));
    const { weights } = forecaster.forecast({ positions, first: 0, target: 11, probe: gram });

    const taylor = taylorSeer({ order: 2 }).forecast({ positions, first: 0, target: 11 }).weights;
    const y = minus(now, combine(taylor, probes));
    const D = [minus(probes[1]!, probes[0]!), minus(probes[2]!, probes[0]!)];
    const R = [minus(residuals[1]!, residuals[0]!), minus(residuals[2]!, residuals[0]!)];
    const ridge = (lambda * (dot(D[0]!, D[0]!) + dot(D[1]!, D[1]!))) / 2;
    const [a, b, d] = [dot(D[0]!, D[0]!) + ridge, dot(D[0]!, D[1]!), dot(D[1]!, D[1]!) + ridge];
    const [u, v] = [dot(D[0]!, y), dot(D[1]!, y)];
    const c = [(d * u - b * v) / (a * d - b * b), (a * v - b * u) / (a * d - b * b)];
    const expected = combine(taylor, residuals).map((r, i) => r + gain * (c[0]! * R[0]![i]! + c[1]! * R[1]![i]!));
    expectClose(combine(weights, residuals), expected, 1e-12);
  });

  it('finds the forecast where the probe tells it: a hidden mixture of the snapshots', () => {
    const mixture = [0.5, 0.8, -0.3];
    const forecaster = createForecaster(parseCalibratorConfig({ type: 'probe', order: 1, lambda: 0 }));
    const probe = gramOf([...probes, combine(mixture, probes)]);
    const { weights } = forecaster.forecast({ positions, first: 0, target: 11, probe });
    expectClose([...weights], mixture, 1e-9);
  });

  it('the innovation is the relative error of the probe forecast, smaller after the correction', () => {
    const taylor = taylorSeer({ order: 1 }).forecast({ positions, first: 0, target: 11 }).weights;
    const corrected = correctedWeights({ prior: taylor, gram, lambda: 0.01 });
    for (const weights of [taylor, corrected, Float64Array.of(0.3, 0.1, 0)]) {
      expect(innovation(weights, gram)).toBeCloseTo(norm(minus(now, combine(weights, probes))) / norm(now), 12);
    }
    expect(innovation(corrected, gram)).toBeLessThan(innovation(taylor, gram));
  });

  it('is plain re-use of a single snapshot and plain Taylor of snapshots that are all alike', () => {
    const { forecast } = createForecaster(parseCalibratorConfig({ type: 'probe' }));
    const one = forecast({ positions: [0], first: 0, target: 1, probe: gramOf([probes[0]!, now]) });
    expect([...one.weights]).toEqual([1]);
    const same = gramOf([probes[0]!, probes[0]!, now]);
    expect([...forecast({ positions: [4, 3], first: 0, target: 5, probe: same }).weights]).toEqual([2, -1]);
  });
});

describe('learned weights', () => {
  const file = {
    numInferenceSteps: 28,
    entries: [
      { target: 6, positions: [5, 4], weights: [1.7, -0.7] },
      { target: 6, positions: [5, 4, 3], weights: [2, -1.5, 0.5] },
    ],
  };

  it('takes the longest entry that matches the latest computed steps, else Taylor, and says so', () => {
    const { forecast, historySize } = learned(parseLearnedCoefficients(file, 'file'));
    expect(historySize).toBe(3);
    expect([...forecast({ positions: [5, 4, 3], first: 0, target: 6 }).weights]).toEqual([2, -1.5, 0.5]);
    expect([...forecast({ positions: [5, 4, 2], first: 0, target: 6 }).weights]).toEqual([1.7, -0.7, 0]);
    const other = forecast({ positions: [5, 3], first: 0, target: 6 });
    expect([...other.weights]).toEqual([1.5, -0.5]);
    expect(other.note).toBe('nothing fitted for step 6 from steps 5, 3: Taylor of order 1');
  });

  it.each([
    [{ entries: [] }, 'file.numInferenceSteps: is required'],
    [
      { numInferenceSteps: 4, entries: [{ target: 3, positions: [2], weights: [] }] },
      'file.entries[0].weights: must not be empty',
    ],
    [{ numInferenceSteps: 4, entries: [{ target: 3, positions: [1, 2], weights: [1, 0] }] }, 'must be falling steps'],
    [{ numInferenceSteps: 4, entries: [], stepz: 1 }, 'unknown key "stepz"'],
  ])('refuses %j', (json, message) => {
    expect(() => parseLearnedCoefficients(json, 'file')).toThrow(message);
  });
});
