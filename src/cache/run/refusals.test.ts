/** The recorded runs in which cache-dit 1.3.5 raises: compat mode refuses the same ones, saying why; without it they are right or refused early. */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EnableCacheOptions, enableCache, refreshContext } from '../../api/enable-cache.ts';
import { summary } from '../../api/summary.ts';
import { setWarningHandler } from '../../errors/warnings.ts';
import { AutoModel } from '../../models/auto-model.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import { fixtures, readGolden } from '../../models/testing/golden.ts';
import type { TransformerModel } from '../../models/transformer-model.ts';

const warnings: string[] = [];
let restore: Parameters<typeof setWarningHandler>[0];
beforeAll(() => {
  restore = setWarningHandler((message) => warnings.push(message));
});
afterAll(() => void setWarningHandler(restore));

const base = { Fn_compute_blocks: 1, Bn_compute_blocks: 0, residual_diff_threshold: 0.24, max_warmup_steps: 1 };

describe.each<{
  family: string;
  name: string;
  options: EnableCacheOptions;
  refusal: string;
  without: string | undefined;
}>([
  {
    family: 'flux',
    name: 'cfg_first_separate_error',
    options: {
      cacheConfig: { ...base, enable_separate_cfg: true, cfg_compute_first: true, cfg_diff_compute_separate: true },
    },
    refusal: 'cacheConfig.cfgComputeFirst: must be false in compat mode',
    without: undefined,
  },
  {
    family: 'flux',
    name: 'default_f8_error_n6',
    options: { cacheConfig: {} },
    refusal: 'cacheConfig.fnComputeBlocks: 8 is more than the 6 blocks',
    without: undefined,
  },
  {
    family: 'flux',
    name: 'f7_error_28',
    options: { cacheConfig: { ...base, Fn_compute_blocks: 7 } },
    refusal: 'cacheConfig.fnComputeBlocks: 7 is more than the 6 blocks',
    without: 'cacheConfig.fnComputeBlocks: 7 is more than the 6 blocks',
  },
  {
    family: 'flux',
    name: 'scm_starts_with_0_static_error',
    options: { cacheConfig: { ...base, steps_computation_mask: [0, 1, 1, 1], steps_computation_policy: 'static' } },
    refusal: 'cacheConfig.stepsComputationMask: step 0 must re-use, but nothing computed yet',
    without: undefined,
  },
  {
    family: 'sd3',
    name: 'f1b0_r0.24_taylor1_enc_error_28',
    options: { cacheConfig: base, calibratorConfig: { type: 'taylorseer', enable_encoder_calibrator: true } },
    refusal:
      'calibratorConfig.enableEncoderCalibrator: cache-dit fails on blocks whose last one returns no encoder states',
    without: undefined,
  },
  {
    family: 'dit',
    name: 'dbprune_r0.12_error_28',
    options: { cacheConfig: { ...base, cache_type: 'DBPrune' } },
    refusal: 'cacheConfig.cacheType: cache-dit cannot prune blocks of pattern 3',
    without: undefined,
  },
])('$family/$name', ({ family, options, refusal, without }) => {
  let model: TransformerModel;
  let inputs: ForwardInputs;
  beforeAll(async () => {
    model = await AutoModel.fromPretrained(path.join(fixtures, 'models', family));
    ({ inputs } = await readGolden(`models/${family}`));
  });
  afterAll(() => model.dispose());

  const run = async (compat?: 'cache-dit') => {
    enableCache(model, { ...options, cacheConfig: { ...options.cacheConfig, compat } });
    for (let call = 0; call < 4; call++) await model.forward(inputs);
  };

  it('is refused in compat mode', async () => {
    await expect(run('cache-dit')).rejects.toThrow(refusal);
  });

  it(without === undefined ? 'runs without it' : 'is refused without it too', async () => {
    if (without === undefined) await run();
    else await expect(run()).rejects.toThrow(without);
  });
});

describe('settings that do nothing', () => {
  it('are told once, not once per request, and again for other settings', async () => {
    const model = await AutoModel.fromPretrained(path.join(fixtures, 'models/dit'));
    const { inputs } = await readGolden('models/dit');
    const request = async (steps: number, scale: (step: number) => number) => {
      const session = model.newSession({ numInferenceSteps: steps });
      for (let step = 0; step < steps; step++) {
        const timestep = scale(step);
        (await session.forward(model.prepare({ ...inputs, timestep }), {})).dispose();
      }
      session.end();
    };
    const told = async (options: EnableCacheOptions, act: () => Promise<void>) => {
      warnings.length = 0;
      enableCache(model, options);
      await act();
      return warnings.map((warning) => warning.replace(/^cacheConfig: /, '').slice(0, 60));
    };

    // Known when the number of steps is.
    const late = { cacheConfig: { maxWarmupSteps: 12 } };
    expect(await told(late, async () => {})).toEqual([]);
    expect(
      await told(late, async () => {
        for (let i = 0; i < 3; i++) await request(10, () => 500);
      }),
    ).toEqual(['all 10 steps are computed: maxWarmupSteps 12; set it to 3']);
    // Known when a request is over: its times lie far apart.
    const strict = { cacheConfig: { residualDiffThreshold: 1e-9, maxWarmupSteps: 1 } };
    const observed = await told(strict, async () => {
      for (let i = 0; i < 2; i++) await request(10, (step) => 900 - 90 * step);
    });
    expect(observed).toEqual([expect.stringMatching(/^none of 10 calls re-used \(1 by warmup, 9 by diff\)/)]);
    // Known from the model.
    expect(await told({ cacheConfig: { Fn: model.definition.blockLists[0]!.count } }, async () => {})).toHaveLength(1);
    expect(() => refreshContext(model)).not.toThrow();
    expect(summary(model, { logging: false })).toHaveLength(1);
    await model.dispose();
  });
});
