/** The plot's scales and its document. */
import { describe, expect, it } from 'vitest';
import { plotSvg, ticks } from './plot.ts';

describe('ticks', () => {
  it.each([
    [
      [1.2, 3.9],
      [1, 1.5, 2, 2.5, 3, 3.5, 4],
    ],
    [
      [20, 50],
      [20, 25, 30, 35, 40, 45, 50],
    ],
    [
      [-3, 3],
      [-3, -2, -1, 0, 1, 2, 3],
    ],
  ])('%j', (values, expected) => expect(ticks(values)).toEqual(expected));

  it('encloses a single value', () => {
    const found = ticks([7]);
    expect(found[0]).toBeLessThanOrEqual(7);
    expect(found.at(-1)).toBeGreaterThan(7);
  });
});

describe('plotSvg', () => {
  it('puts higher values higher, sorts a curve by x and leaves out what is not finite', () => {
    const svg = plotSvg({
      title: 'a < b',
      xLabel: 'x',
      yLabel: 'y',
      curves: [
        {
          name: 'one',
          points: [
            { x: 3, y: 20 },
            { x: 1, y: 40 },
            { x: 2, y: Number.POSITIVE_INFINITY },
          ],
        },
      ],
    });
    const [from, to] = /d="M([\d.]+ [\d.]+)L([\d.]+ [\d.]+)"/
      .exec(svg)!
      .slice(1)
      .map((pair) => pair.split(' ').map(Number));
    expect(from![0]).toBeLessThan(to![0]!);
    expect(from![1]).toBeLessThan(to![1]!);
    expect(svg.match(/<circle/g)).toHaveLength(2);
    expect(svg).toContain('a &lt; b');
    expect(svg).not.toMatch(/NaN|Infinity/);
  });
});
