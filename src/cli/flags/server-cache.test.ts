import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { serverCache } from './server-cache.ts';

const sglang = {
  fnComputeBlocks: 1,
  bnComputeBlocks: 0,
  maxWarmupSteps: 4,
  residualDiffThreshold: 0.24,
  maxContinuousCachedSteps: 3,
};
const on = { SGLANG_CACHE_DIT_ENABLED: 'true' };

it.each([
  [{}, {}, undefined],
  [{}, { SGLANG_CACHE_DIT_FN: '8' }, undefined],
  [{ cacheBackend: 'none' }, {}, undefined],
  [{ cacheBackend: 'cache_dit' }, {}, { cacheConfig: sglang }],
  [
    {
      cacheBackend: 'cache_dit',
      cacheConfig:
        '{"Fn_compute_blocks":2,"scm_steps_mask_policy":"fast","mag_threshold":null,"enable_taylorseer":true}',
    },
    {},
    {
      cacheConfig: { ...sglang, fnComputeBlocks: 2, stepsComputationMask: 'fast' },
      calibratorConfig: { type: 'taylorseer' },
    },
  ],
  [{ enableCacheDit: true }, {}, { cacheConfig: sglang }],
  [{ cacheDitParams: '{"scm_preset":"ultra"}' }, {}, { cacheConfig: { stepsComputationMask: 'ultra' } }],
  [
    {},
    { ...on, SGLANG_CACHE_DIT_FN: '2', SGLANG_CACHE_DIT_TS_ORDER: '2' },
    { cacheConfig: { ...sglang, fnComputeBlocks: 2 } },
  ],
  [
    {},
    { ...on, SGLANG_CACHE_DIT_TAYLORSEER: '1', SGLANG_CACHE_DIT_TS_ORDER: '2', SGLANG_CACHE_DIT_SECONDARY_WARMUP: '2' },
    {
      cacheConfig: sglang,
      calibratorConfig: { type: 'taylorseer', order: 2 },
      paramsModifiers: [{}, { cacheConfig: { maxWarmupSteps: 2 }, calibratorConfig: { order: 2 } }],
    },
  ],
])('%j with %j', async (flags, env, expected) => {
  const options = await serverCache(flags, env);
  if (expected) expect(options).toMatchObject(expected);
  else expect(options).toBeUndefined();
});

it("reads cache-dit's files", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'deja-dit-flags-'));
  const file = path.join(folder, 'cache.yaml');
  writeFileSync(file, 'cache_config:\n  Fn_compute_blocks: 4\n');
  expect(await serverCache({ cacheDitConfig: file }, {})).toMatchObject({ cacheConfig: { fnComputeBlocks: 4 } });
  rmSync(folder, { recursive: true });
});

it.each([
  [{ cacheConfig: '{}' }, {}, /--cache-config has no effect without --cache-backend/],
  [{ cacheBackend: 'tea_cache' }, {}, /--cache-backend: there is no such cache here, got 'tea_cache'/],
  [{ cacheBackend: 'cache_dit', cacheConfig: '{"sea_threshold":1}' }, {}, /sea_threshold: is of another backend/],
  [{ cacheBackend: 'cache_dit', cacheConfig: '{"Fn":' }, {}, /--cache-config/],
  [
    { cacheBackend: 'cache_dit', cacheConfig: '{"Fm_compute_blocks":1}' },
    {},
    /unknown key "Fm_compute_blocks"; did you mean/,
  ],
  [{ cacheBackend: 'cache_dit', enableCacheDit: true }, {}, /both set the cache/],
  [{}, { ...on, SGLANG_CACHE_DIT_FN: 'many' }, /SGLANG_CACHE_DIT_FN: must be a number, got 'many'/],
])('refuses %j with %j', async (flags, env, message) => {
  await expect(serverCache(flags, env)).rejects.toThrow(message);
});
