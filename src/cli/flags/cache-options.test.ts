/** What flags and config files together ask of `enableCache`. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { cacheOptions } from './cache-options.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'deja-dit-flags-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (text: string) => {
  const name = path.join(folder, 'config.yaml');
  writeFileSync(name, text);
  return name;
};

it('is nothing without flags', async () => {
  expect(await cacheOptions({})).toBeUndefined();
});

it('hands on every section of a file; flags overrule its cache settings', async () => {
  const config = file(`
cache_config: { Fn_compute_blocks: 2, residual_diff_threshold: 0.1 }
attention_backend: native
quantize_config: { quant_type: int8_per_row }
parallelism_config: { ulysses_size: 2 }
`);
  expect(await cacheOptions({ config, FnComputeBlocks: 1 })).toMatchObject({
    cacheConfig: { fnComputeBlocks: 1, residualDiffThreshold: 0.1 },
    attentionBackend: 'native',
    quantizeConfig: { quant_type: 'int8_per_row' },
    parallelismConfig: { ulysses_size: 2 },
  });
});

it('caches nothing for a file that does not ask for it', async () => {
  const config = file('quantize_config: { quant_type: int8_per_row }');
  expect((await cacheOptions({ config }))?.cacheConfig).toBeNull();
  expect((await cacheOptions({ config, cache: true }))?.cacheConfig).toEqual({});
  await expect(cacheOptions({ config, FnComputeBlocks: 1 })).rejects.toThrow(
    '--Fn-compute-blocks has no effect without',
  );
});

it('refuses a forecaster without a cache', async () => {
  const config = file('calibrator_config: { type: foca }');
  await expect(cacheOptions({ config })).rejects.toThrow(/config\.yaml: calibrator_config does nothing without/);
  expect(await cacheOptions({ config, cache: true })).toMatchObject({
    cacheConfig: {},
    calibratorConfig: { type: 'foca' },
  });
});
