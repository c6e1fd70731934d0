import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseCacheConfig } from '../cache/config/cache-config.ts';
import { parseCalibratorConfig } from '../cache/config/calibrator-config.ts';
import { completeConfigs } from '../cache/config/defaults.ts';
import { loadConfigs } from './load-configs.ts';

const folder = mkdtempSync(join(tmpdir(), 'load-configs-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

describe('sections', () => {
  it('reads a config file of cache-dit unchanged', () => {
    const path = file(
      'config.yaml',
      `
cache_config:
  cache_type: DBCache
  max_warmup_steps: 8
  warmup_interval: 2
  max_cached_steps: -1
  max_continuous_cached_steps: 2
  Fn_compute_blocks: 1
  Bn_compute_blocks: 0
  residual_diff_threshold: 0.12
  num_inference_steps: 28
  steps_computation_mask: fast
  enable_taylorseer: true
  taylorseer_order: 2
parallelism_config:
  ulysses_size: 4
  extra_parallel_modules: ["text_encoder", "vae"]
attention_backend: native
quantize_config:
  quant_type: float8_per_row
`,
    );
    const loaded = loadConfigs(path);
    expect(loaded).toEqual({
      cacheConfig: {
        ...{ cacheType: 'DBCache', fnComputeBlocks: 1, bnComputeBlocks: 0, maxWarmupSteps: 8, warmupInterval: 2 },
        ...{ maxCachedSteps: -1, maxContinuousCachedSteps: 2, residualDiffThreshold: 0.12 },
        ...{ numInferenceSteps: 28, stepsComputationMask: 'fast' },
      },
      calibratorConfig: parseCalibratorConfig({ type: 'taylorseer', order: 2, enableEncoderCalibrator: false }),
      parallelismConfig: { ulysses_size: 4, extra_parallel_modules: ['text_encoder', 'vae'] },
      attentionBackend: 'native',
      quantizeConfig: { quant_type: 'float8_per_row' },
    });
  });

  it('reads JSON, camelCase and a calibrator section of its own', () => {
    const content = { cacheConfig: { Fn: 2 }, calibratorConfig: { type: 'probe', order: 2 } };
    const loaded = loadConfigs(file('config.json', JSON.stringify(content)));
    expect(loaded).toEqual(loadConfigs(content));
    expect(loaded.calibratorConfig).toEqual(parseCalibratorConfig({ type: 'probe', order: 2 }));
  });

  it('without a cache section nothing is cached; with none at all the file is the cache section', () => {
    expect(loadConfigs({ attention_backend: 'native' })).toMatchObject({
      cacheConfig: null,
      attentionBackend: 'native',
    });
    const flat = loadConfigs({ Fn_compute_blocks: 1, enable_taylorseer: true });
    expect(flat.cacheConfig).toEqual({ cacheType: 'DBCache', fnComputeBlocks: 1 });
    expect(flat.calibratorConfig).toMatchObject({ type: 'taylorseer', order: 1, enableEncoderCalibrator: false });
  });

  it('leaves to the defaults what it leaves out, the forecaster too', () => {
    const loaded = loadConfigs({ cache_config: { Fn_compute_blocks: 2 } });
    expect(completeConfigs(loaded)).toEqual(completeConfigs({ cacheConfig: { Fn: 2 } }));
    const plain = loadConfigs({ cache_config: { residual_diff_threshold: 0.1, enable_taylorseer: false } });
    expect(completeConfigs(plain)).toEqual({
      cacheConfig: parseCacheConfig({ residualDiffThreshold: 0.1 }),
      calibratorConfig: null,
    });
  });

  it('takes learned coefficients from a file beside it', () => {
    const coefficients = { numInferenceSteps: 8, entries: [{ target: 3, positions: [2, 1], weights: [2, -1] }] };
    file('weights.json', JSON.stringify(coefficients));
    const path = file('learned.yaml', 'calibrator_config: { type: learned, coefficients: weights.json }');
    expect(loadConfigs(path).calibratorConfig).toEqual(parseCalibratorConfig({ type: 'learned', coefficients }));
  });
});

describe('flat calibrator keys', () => {
  const calibrator = (options: Record<string, unknown>) => loadConfigs({ cache_config: options }).calibratorConfig;

  it('have cache-dit’s defaults', () => {
    expect(calibrator({ enable_dmd: true })).toEqual(parseCalibratorConfig({ type: 'dmd' }));
    const dmd = { enable_dmd: true, enable_encoder_dmd: false, calibrator_cache_type: 'hidden_states', dmd_rank: 2 };
    expect(calibrator(dmd)).toEqual(
      parseCalibratorConfig({
        ...{ type: 'dmd', rank: 2, enableEncoderCalibrator: false, calibratorCacheType: 'hidden_states' },
      }),
    );
    expect(calibrator({ enable_foca: true })).toEqual(
      parseCalibratorConfig({ type: 'foca', enableEncoderCalibrator: false }),
    );
    expect(calibrator({ enable_taylorseer: true, taylorseer_cache_type: 'hidden_states' })).toMatchObject({
      calibratorCacheType: 'hidden_states',
    });
    expect(calibrator({ enable_taylorseer: false, taylorseer_order: 2 })).toBeNull();
  });

  it.each([
    [{ enable_taylorseer: true, enable_dmd: true }, 'enableTaylorseer and enableDmd are mutually exclusive'],
    [{ taylorseer_order: 2 }, 'taylorseerOrder does nothing without enableTaylorseer: true'],
    [{ enable_dmd: true, taylorseer_order: 2 }, 'taylorseerOrder does nothing without enableTaylorseer: true'],
    [{ enable_taylorsear: true }, 'unknown key "enable_taylorsear"; did you mean enableTaylorseer?'],
    [{ enable_taylorseer: true, taylorseer_order: -1 }, 'calibratorConfig.order: must be an integer from 0'],
  ])('%j', (options, message) => {
    expect(() => calibrator(options)).toThrow(message);
  });
});

describe('errors', () => {
  it.each([
    [{ cache_config: {}, parallelism: {} }, 'configs: unknown key "parallelism"'],
    [{ cache_config: [] }, 'configs.cacheConfig: must be an object, got []'],
    [{ Fn_compute_block: 1 }, 'cacheConfig: unknown key "Fn_compute_block"; did you mean fnComputeBlocks?'],
    [{ cache_config: { enable_foca: true }, calibrator_config: { type: 'dmd' } }, 'cacheConfig names one too (foca)'],
  ])('%j', (content, message) => {
    expect(() => loadConfigs(content)).toThrow(message);
  });

  it('name the file', () => {
    const missing = join(folder, 'missing.yaml');
    expect(() => loadConfigs(missing)).toThrow(`${missing}: no such file`);
    const broken = file('broken.yaml', 'cache_config: [1,\n');
    expect(() => loadConfigs(broken)).toThrow(`${broken}: is no YAML or JSON`);
    const list = file('list.yaml', '- 1\n');
    expect(() => loadConfigs(list)).toThrow(`${list}: configs: must be an object of options`);
    const typo = file('typo.yaml', 'cache_config: { max_warmup_step: 3 }');
    expect(() => loadConfigs(typo)).toThrow(
      `${typo}: cacheConfig: unknown key "max_warmup_step"; did you mean maxWarmupSteps?`,
    );
  });
});
