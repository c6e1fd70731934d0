import { describe, expect, it } from 'vitest';
import { eigen, matrixPowerTimes } from './eigen.ts';
import { multiply, type SmallMatrix, solveSymmetric, transpose } from './small-matrix.ts';

function randomMatrix(size: number, seed: number): SmallMatrix {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  return Array.from({ length: size }, () => Array.from({ length: size }, next));
}

describe('solveSymmetric', () => {
  it('solves a definite system and leaves out the directions of a singular one', () => {
    const r = randomMatrix(5, 9);
    const matrix = multiply(r, transpose(r));
    const x = [1, -2, 3, 0.5, 4];
    const b = matrix.map((row) => row.reduce((total, value, i) => total + value * x[i]!, 0));
    for (const [i, value] of solveSymmetric(matrix, b).entries()) expect(value).toBeCloseTo(x[i]!, 7);
    expect(
      solveSymmetric(
        [
          [4, 4],
          [4, 4],
        ],
        [8, 8],
      ),
    ).toEqual([2, 0]);
    expect(solveSymmetric([[0]], [0])).toEqual([0]);
  });
});

describe('eigen', () => {
  const check = (matrix: SmallMatrix, tolerance: number) => {
    const { values, vectors } = eigen(matrix)!;
    const size = Math.hypot(...matrix.flat());
    for (let k = 0; k < matrix.length; k++) {
      const column = vectors.map((row) => row[k]!);
      matrix.forEach((row, i) => {
        const re = row.reduce((total, value, j) => total + value * column[j]![0], 0);
        const im = row.reduce((total, value, j) => total + value * column[j]![1], 0);
        const [a, b] = values[k]!;
        const [x, y] = column[i]!;
        expect(Math.hypot(re - (a * x - b * y), im - (a * y + b * x))).toBeLessThan(tolerance * size);
      });
    }
    return values;
  };

  it.each([1, 2, 3, 5, 8, 16])('A v = λ v for random matrices of %i rows', (size) => {
    for (let seed = 1; seed <= 10; seed++) check(randomMatrix(size, seed), 1e-12);
  });

  it('finds known eigenvalues: a rotation, a companion matrix, a cyclic shift that plain QR never leaves', () => {
    const moduli = (matrix: SmallMatrix) =>
      check(matrix, 1e-12)
        .map(([re, im]) => Math.hypot(re, im))
        .sort();
    const rotation = check(
      [
        [0.8, -0.6],
        [0.6, 0.8],
      ],
      1e-14,
    );
    expect(rotation.map(([re]) => re.toFixed(12))).toEqual(['0.800000000000', '0.800000000000']);
    expect(Math.abs(rotation[0]![1])).toBeCloseTo(0.6, 12);
    const roots = check(
      [
        [6, -11, 6],
        [1, 0, 0],
        [0, 1, 0],
      ],
      1e-12,
    ).map(([re]) => Math.round(re * 1e9) / 1e9);
    expect(roots.sort()).toEqual([1, 2, 3]);
    const shift = [
      [0, 0, 0, 1],
      [1, 0, 0, 0],
      [0, 1, 0, 0],
      [0, 0, 1, 0],
    ];
    for (const modulus of moduli(shift)) expect(modulus).toBeCloseTo(1, 12);
  });

  it('gives up on what is not finite', () => {
    expect(
      eigen([
        [Number.NaN, 0],
        [0, 1],
      ]),
    ).toBeUndefined();
  });
});

describe('matrixPowerTimes', () => {
  it('is the repeated product at whole powers and a square root at half of them', () => {
    const matrix = randomMatrix(4, 5);
    const vector = [1, -1, 2, 0.5];
    const apply = (x: number[]) => matrix.map((row) => row.reduce((total, value, i) => total + value * x[i]!, 0));
    const modes = eigen(matrix)!;
    const cubed = matrixPowerTimes({ ...modes, power: 3, vector });
    for (const [i, value] of apply(apply(apply(vector))).entries()) expect(cubed[i]).toBeCloseTo(value, 10);

    const rotation = [
      [0, -1],
      [1, 0],
    ];
    const half = matrixPowerTimes({ ...eigen(rotation)!, power: 0.5, vector: [1, 0] });
    for (const value of half) expect(value).toBeCloseTo(Math.SQRT1_2, 12);
  });

  it('survives a matrix with too few eigenvectors: the drift of a linear signal', () => {
    const [x, y] = matrixPowerTimes({
      ...eigen([
        [1, 1],
        [0, 1],
      ])!,
      power: 2.5,
      vector: [0, 1],
    });
    expect(x).toBeCloseTo(2.5, 4);
    expect(y).toBeCloseTo(1, 4);
  });
});
