/** Models of a user's own: registered, loaded from their checkpoint, and cached as an adapter says. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { disableCache, enableCache, refreshContext } from '../../api/enable-cache.ts';
import { strify, summary } from '../../api/summary.ts';
import { setWarningHandler } from '../../errors/warnings.ts';
import { AutoModel } from '../../models/auto-model.ts';
import { registerTransformer, supportedTransformers } from '../../models/registry.ts';
import { fixtures, readGolden } from '../../models/testing/golden.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';
import { floatTensor, type Tensor } from '../../tensor/tensor.ts';
import { writeSafetensors } from '../../weights/safetensors/write-safetensors.ts';
import { callToy, toyFamily, toyModel } from '../testing/toy-model.ts';
import { setAttnBackend } from './attn-backend.ts';
import { BlockAdapter, type BlockAdapterOptions, getAdapter } from './block-adapter.ts';
import { supportedMatrix } from './supported-matrix.ts';

const warnings: string[] = [];
let restore: Parameters<typeof setWarningHandler>[0];
beforeAll(() => {
  restore = setWarningHandler((message) => warnings.push(message));
});
afterAll(() => void setWarningHandler(restore));

const statsOf = (target: Parameters<typeof summary>[0]) => summary(target, { logging: false, details: true });

describe('registerTransformer', () => {
  it('makes checkpoints of the class load and cache like any other', async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'deja-dit-own-'));
    await writeFile(
      path.join(folder, 'config.json'),
      JSON.stringify({ _class_name: 'ToyPattern3Transformer', num_layers: 3 }),
    );
    const weights = Object.fromEntries([0, 1, 2].map((i) => [`blocks.${i}.scale`, floatTensor([i + 1])]));
    await writeSafetensors(path.join(folder, 'diffusion_pytorch_model.safetensors'), weights);
    await expect(AutoModel.fromPretrained(folder)).rejects.toThrow("'ToyPattern3Transformer' is not supported");

    registerTransformer(toyFamily(3));
    expect(supportedTransformers()).toContain('ToyPattern3Transformer');
    const model = await AutoModel.fromPretrained(folder);
    enableCache(model, { cacheConfig: { maxWarmupSteps: 1, residualDiffThreshold: 1 } });
    expect(await callToy(model, { gain: 1 })).toEqual([1 + 6]);
    // Block 0 is run, the other two are remembered.
    expect(await callToy(model, { gain: 2 })).toEqual([1 + 2 + 5]);
    await model.dispose();
    await rm(folder, { recursive: true });
  });

  it.each(['FluxTransformer2DModel', 'AutoencoderKL'])('refuses the name of %s, which is taken', (className) => {
    expect(() => registerTransformer({ ...toyFamily(0), className })).toThrow(
      `${className}: a model class of this name`,
    );
  });
});

describe('BlockAdapter', () => {
  let flux: TransformerModel;
  let inputs: Awaited<ReturnType<typeof readGolden>>['inputs'];
  beforeAll(async () => {
    flux = await AutoModel.fromPretrained(path.join(fixtures, 'models/flux'));
    ({ inputs } = await readGolden('models/flux'));
  });
  afterAll(() => flux.dispose());

  it('of a family is what getAdapter returns', () => {
    const { blockGroups, parts } = getAdapter(flux);
    expect(parts.map(({ name, hasSeparateCfg }) => [name, hasSeparateCfg])).toEqual([
      ['FluxTransformer2DModel', false],
    ]);
    expect(blockGroups['FluxTransformer2DModel']).toMatchObject([
      {
        name: 'transformer_blocks+single_transformer_blocks',
        count: 6,
        lists: [
          { name: 'transformer_blocks', pattern: 1 },
          { name: 'single_transformer_blocks', pattern: 1 },
        ],
      },
    ]);
    const adapter = new BlockAdapter({ model: flux });
    expect(getAdapter(adapter)).toBe(adapter);
  });

  it('caches the lists it names, together or each for itself, and computes the others', async () => {
    const { sample: expected } = (await flux.forward(inputs)) as { sample: Tensor };
    const blocksOf = async (blockGroups: BlockAdapterOptions['blockGroups']) => {
      const adapter = new BlockAdapter({ model: flux, blockGroups, forwardPattern: 1 });
      enableCache(adapter, { cacheConfig: { maxWarmupSteps: 1, residualDiffThreshold: 0.1 } });
      await flux.forward(inputs);
      const { sample } = (await flux.forward(inputs)) as { sample: Tensor };
      // The same inputs again: what is re-used is what would be computed.
      for (const [i, value] of expected.f32.entries()) expect(sample.data[i]).toBeCloseTo(value, 5);
      const stats = statsOf(adapter);
      for (const { cachedSteps } of stats) expect(cachedSteps).toEqual([1]);
      disableCache(adapter);
      return stats.map(({ blocks }) => blocks);
    };
    expect(await blocksOf(['transformer_blocks', 'single_transformer_blocks'])).toEqual([
      'transformer_blocks',
      'single_transformer_blocks',
    ]);
    expect(await blocksOf([['transformer_blocks', 'single_transformer_blocks']])).toEqual([
      'transformer_blocks+single_transformer_blocks',
    ]);
    expect(await blocksOf(['single_transformer_blocks'])).toEqual(['single_transformer_blocks']);
  });

  it('gives settings to single groups, and its own guidance', async () => {
    const adapter = new BlockAdapter({
      pipe: { transformers: { transformer: flux } },
      blockGroups: ['transformer_blocks', 'single_transformer_blocks'],
      hasSeparateCfg: true,
      paramsModifiers: [{}, { cacheConfig: { residualDiffThreshold: 0.7 }, calibratorConfig: { type: 'taylorseer' } }],
    });
    enableCache(adapter, { cacheConfig: { maxWarmupSteps: 1 } });
    for (let call = 0; call < 4; call++) await flux.forward(inputs);
    const [double, single] = statsOf(adapter);
    expect(double!.calls.map(({ branch, step }) => `${branch} ${step}`)).toEqual([
      'cond 0',
      'uncond 0',
      'cond 1',
      'uncond 1',
    ]);
    expect([double, single].map((stats) => stats!.cacheOptions!.cacheConfig.residualDiffThreshold)).toEqual([
      0.24, 0.7,
    ]);
    expect(strify(single!)).toBe('DBCache_F1B0_W1I1M0MC3_R0.7_T1O1_S1');
    disableCache(adapter);
  });

  it('warns of modifiers that no group is left for', () => {
    warnings.length = 0;
    enableCache(flux, { paramsModifiers: [{}, { cacheConfig: { Fn: 2 } }] });
    disableCache(flux);
    expect(warnings).toEqual(['paramsModifiers: the last 1 have no effect, there are only 1 block groups']);
  });

  it.each<[BlockAdapterOptions, string]>([
    [{}, 'BlockAdapter.pipe: give either a pipe or a model'],
    [{ blockGroups: [] }, 'BlockAdapter.blockGroups: names no block list'],
    [
      { blockGroups: ['blocks'] },
      "FluxTransformer2DModel has no block list 'blocks', only transformer_blocks, single_transformer_blocks",
    ],
    [
      { forwardPattern: 3 },
      'BlockAdapter.forwardPattern: 3 for transformer_blocks, but FluxTransformer2DModel defines it with pattern 1',
    ],
    [{ forwardPattern: [1, 1, 1] }, 'BlockAdapter.forwardPattern: 3 patterns for the 2 block lists'],
  ])('refuses %j', (options, message) => {
    const make = () => new BlockAdapter(Object.keys(options).length === 0 ? options : { model: flux, ...options });
    expect(make).toThrow(message);
  });

  it('is all that a cache can be put on, besides pipelines and transformers', () => {
    expect(() => enableCache({ transformers: {} })).toThrow('expected a pipeline, a transformer or a BlockAdapter');
  });
});

describe('refreshContext', () => {
  it('begins a new request; with options only the given fields change', async () => {
    const model = await toyModel(3);
    enableCache(model, {
      cacheConfig: { maxWarmupSteps: 1, residualDiffThreshold: 1 },
      calibratorConfig: { type: 'taylorseer', order: 2 },
    });
    const actionsOf = async (calls: number) => {
      for (let call = 0; call < calls; call++) await callToy(model, { gain: 1 });
      return statsOf(model)[0]!
        .calls.map(({ action }) => action[0])
        .join('');
    };
    expect(await actionsOf(3)).toBe('crr');
    refreshContext(model);
    expect(await actionsOf(2)).toBe('cr');
    refreshContext(model, { cacheConfig: { max_warmup_steps: 2 } });
    expect(await actionsOf(4)).toBe('ccrr');
    expect(strify(model)).toBe('DBCache_F1B0_W2I1M0MC3_R1.0_T1O2_S2');
    disableCache(model);
    expect(() => refreshContext(model)).toThrow('no cache is enabled on this ToyPattern3Transformer');
    await model.dispose();
  });
});

describe('setAttnBackend', () => {
  it('takes the names of what ONNX Runtime does, and refuses others with the reason', async () => {
    const model = await toyModel(3);
    for (const name of ['native', 'sdpa', null]) expect(() => setAttnBackend(model, name)).not.toThrow();
    expect(() => setAttnBackend(model, 'sage')).toThrow("attentionBackend: 'sage' needs the SageAttention package");
    expect(() => setAttnBackend(model, 'nativ')).toThrow("unknown attention 'nativ'; did you mean native?");
    await model.dispose();
  });
});

describe('supportedMatrix', () => {
  it('lists every registered transformer with its cached lists', async () => {
    const lines = (await supportedMatrix()).split('\n');
    expect(lines).toHaveLength(2 + supportedTransformers().length);
    expect(lines.find((line) => line.includes('| FluxTransformer2DModel'))).toMatch(
      /transformer_blocks \(1\) \+ single_transformer_blocks \(1\) \| +no/,
    );
    expect(lines.find((line) => line.includes('WanTransformer3DModel'))).toMatch(/blocks \(2\) \| +yes/);
  });
});
