/**
 * The blocks of every family can be skipped: a step on the inputs of the one before re-uses what its blocks added, and gives what
 * computing them gives.
 */
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { enableCache } from '../../api/enable-cache.ts';
import { summary } from '../../api/summary.ts';
import { setWarningHandler } from '../../errors/warnings.ts';
import { AutoModel } from '../../models/auto-model.ts';
import { fixtures, goldenModels, readGolden, relativeError } from '../../models/testing/golden.ts';
import { groupsOf } from '../adapters/block-adapter.ts';
import { sectionsOf } from '../adapters/block-group.ts';

let restore: Parameters<typeof setWarningHandler>[0];
beforeAll(() => {
  restore = setWarningHandler(() => {});
});
afterAll(() => void setWarningHandler(restore));

const folders = goldenModels
  // The blocks of a UNet cannot stand for each other.
  .filter((name) => !name.startsWith('unet'));

it.each(folders)('%s', async (name) => {
  const folder = path.join('models', name);
  await using model = await AutoModel.fromPretrained(path.join(fixtures, folder));
  const { inputs } = await readGolden(folder);
  const tensor = ({ sample }: Awaited<ReturnType<typeof model.forward>>) => [sample].flat()[0]!;
  const computed = tensor(await model.forward(inputs));

  const smallest = Math.min(...groupsOf(sectionsOf(model.definition)).map(({ count }) => count));
  const last = smallest > 2 ? 1 : 0;
  enableCache(model, {
    cacheConfig: { Fn: 1, Bn: last, maxWarmupSteps: 1, residualDiffThreshold: 0.5, enableSeparateCfg: false },
    calibratorConfig: null,
  });
  expect(relativeError(tensor(await model.forward(inputs)), computed)).toBeLessThan(1e-5);
  expect(relativeError(tensor(await model.forward(inputs)), computed)).toBeLessThan(1e-5);
  for (const stats of summary(model)) expect(stats.cachedSteps).toEqual([1]);
});
