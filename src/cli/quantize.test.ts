/** `deja-dit quantize` from flags to a folder; the quantising itself is tested in `quantize/`. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { AutoModel } from '../models/auto-model.ts';
import { fixtures } from '../models/testing/golden.ts';
import type { WeightStore } from '../weights/weight-store.ts';
import { quantize } from './quantize.ts';

const flags = {
  model: path.join(fixtures, 'models/flux'),
  prompts: 1,
  regional: true,
  fallback: true,
  diskCache: false,
};
let folder: string;
let printed: string[];
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-cli-'));
  printed = [];
  vi.spyOn(console, 'log').mockImplementation((line: string) => void printed.push(line));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(folder, { recursive: true });
});

it('writes a model that loads, and says what became of its layers', async () => {
  const out = path.join(folder, 'small');
  await quantize({ ...flags, type: 'int8', exclude: ['norm', 'embedder'], out });
  expect(printed.join('\n')).toMatch(/44 layers int8_per_row: int8 per row/);
  expect(printed.join('\n')).toMatch(/9 layers kept: excludeLayers has 'norm'/);
  const model = await AutoModel.fromPretrained(out);
  const names = (model.weights as WeightStore).quantizedNames;
  expect(names).toContain('single_transformer_blocks.3.proj_out.weight');
  expect(names.some((name) => name.includes('norm'))).toBe(false);
  await model.dispose();
});

it('prints JSON', async () => {
  await quantize({
    ...flags,
    type: 'svdq_int4_r16_dq',
    smooth: 'weight',
    refine: 1,
    out: path.join(folder, 'q'),
    json: true,
  });
  const { type, components } = JSON.parse(printed.join('')) as {
    type: string;
    components: { layers: { format: object }[] }[];
  };
  expect(type).toBe('svdq_int4_r16_dq');
  expect(components[0]!.layers.map(({ format }) => format)).toContainEqual({
    kind: 'low-rank',
    rank: 16,
    smooth: true,
    residual: { kind: 'block', bits: 4, blockSize: 64 },
  });
});

it('refuses flags that lead nowhere', async () => {
  await expect(quantize({ ...flags, type: 'int8' })).rejects.toThrow(/give --out <folder>, --report, or both/);
  await expect(quantize({ ...flags, type: 'int9', out: folder })).rejects.toThrow(/--type: unknown type 'int9'/);
  const strict = { type: 'nvfp4', fallback: false, regional: false, exclude: ['proj'], out: path.join(folder, 'q') };
  await expect(quantize({ ...flags, ...strict })).rejects.toThrow(/nvfp4 cannot hold .*context_embedder \(24 inputs/);
});
