import { describe, expect, it } from 'vitest';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { guide, guideBeyond, guidedBy, guideKeepingNorm } from './guidance.ts';

const cond = floatTensor([3, 4, 1, 0], [2, 2]);
const uncond = floatTensor([1, 4, 0, 0], [2, 2]);
const norms = ({ data }: Tensor) => [0, 2].map((i) => Math.hypot(Number(data[i]), Number(data[i + 1])));

describe('guidance', () => {
  it('moves from the unconditional output to the conditional and beyond', () => {
    expect([...guide(cond, uncond, 2).data]).toEqual([5, 4, 2, 0]);
    expect([...guideBeyond(cond, uncond, { scale: 1, maxNorm: 0 }).data]).toEqual([5, 4, 2, 0]);
    expect(guidedBy(2)([cond, uncond])).toEqual(guide(cond, uncond, 2));
    expect(guidedBy(2)([cond])).toBe(cond);
  });

  it('keeps the norm of every vector', () => {
    const guided = guideKeepingNorm(cond, uncond, 2);
    expect(norms(guided)).toEqual([expect.closeTo(5, 5), expect.closeTo(1, 5)]);
    expect(Number(guided.data[0]) / Number(guided.data[1])).toBeCloseTo(5 / 4, 5);
  });

  it('limits the norm of samples that exceed it, and leaves the others', () => {
    const limited = guideBeyond(cond, uncond, { scale: 1, maxNorm: 1.5 });
    expect(norms(limited)).toEqual([expect.closeTo(Math.hypot(5, 4), 5), expect.closeTo(1.5, 5)]);
  });
});
