/** `deja-dit quantize` from flags to a folder; the quantising itself is tested in `quantize/`. */
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Image } from '../../images/image.ts';
import { AutoModel } from '../../models/auto-model.ts';
import { fixtures } from '../../models/testing/golden.ts';
import type { WeightStore } from '../../weights/weight-store.ts';
import { generate } from './generate.ts';
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
  await quantize({ ...flags, type: ['int8'], exclude: ['norm', 'embedder'], out });
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
    type: ['svdq_int4_r16_dq'],
    smooth: 'weight',
    refine: 1,
    out: path.join(folder, 'q'),
    json: true,
  });
  const { results } = JSON.parse(printed.join('')) as {
    results: { type: string; report: { components: { layers: { format: object }[] }[] } }[];
  };
  const { type, report } = results[0]!;
  expect(type).toBe('svdq_int4_r16_dq');
  expect(report.components[0]!.layers.map(({ format }) => format)).toContainEqual({
    kind: 'low-rank',
    rank: 16,
    smooth: true,
    residual: { kind: 'block', bits: 4, blockSize: 64 },
  });
});

describe('of the bundled pipeline', () => {
  const emoji = { ...flags, model: path.resolve(fixtures, '../models/emoji-flux'), steps: 1, threads: 1 };

  it('compares types with float32, and shows the images', { timeout: 60_000 }, async () => {
    const sheet = path.join(folder, 'sheet.png');
    await quantize({ ...emoji, type: ['int8_weight_only', 'int4'], report: true, sheet });
    const rows = printed[0]!.split('\n').filter((line) => line.includes('dB'));
    const [eight, four] = rows.map((row) => row.split('|').map((cell) => Number.parseFloat(cell)));
    expect(rows[1]).toMatch(/`int4_weight_only`/);
    expect(eight![2]).toBeGreaterThan(four![2]! + 10);
    expect(eight![4]).toBeCloseTo(8.1, 1); // 8 bits and a scale for each row
    expect(four![4]).toBe(5); // 4 bits and a scale for 32 of them
    const { width, height } = await Image.load(sheet);
    expect([width, height]).toEqual([128, 3 * 128]);
  });

  it('quantises text encoders too; what is written draws without the original', { timeout: 60_000 }, async () => {
    const out = path.join(folder, 'small');
    const components = ['transformer', 'text_encoder_2'];
    await quantize({ ...emoji, type: ['int8'], components, out, report: true });
    expect(printed[0]).toMatch(/text_encoder_2 \(T5EncoderModel\): .* → .*/);
    expect(printed[0]).toMatch(/relative error of outputs: mean 0\.\d+ %, the largest:/);
    expect(printed[0]).toMatch(/PSNR of 1 images against float32: mean \d+\.\d dB/);
    for (const component of components) expect(await readdir(path.join(out, component))).toContain('quant_config.json');
    const image = path.join(folder, 'apple.png');
    await generate('red apple', { model: out, out: image, steps: 1, seed: 7, backend: 'cpu', threads: 1, quiet: true });
    expect((await Image.load(image)).width).toBe(128);
  });
});

it('refuses flags that lead nowhere', async () => {
  await expect(quantize({ ...flags, type: ['int8'] })).rejects.toThrow(/give --out <folder>, --report, or both/);
  await expect(quantize({ ...flags, type: ['int8', 'int4'], out: 'x' })).rejects.toThrow(/--out takes one --type/);
  await writeFile(path.join(folder, 'mine'), '');
  await expect(quantize({ ...flags, type: ['int8'], out: folder })).rejects.toThrow(/is there already and not empty/);
  await expect(quantize({ ...flags, type: ['int9'], out: folder })).rejects.toThrow(/--type: unknown type 'int9'/);
  const strict = { type: ['nvfp4'], fallback: false, regional: false, exclude: ['proj'], out: path.join(folder, 'q') };
  await expect(quantize({ ...flags, ...strict })).rejects.toThrow(/nvfp4 cannot hold .*context_embedder \(24 inputs/);
});
