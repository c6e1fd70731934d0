/** The registry's keys are what the families call themselves. */
import { expect, it } from 'vitest';
import { findGraphModel, findTransformer, isTransformer, supportedModels } from './registry.ts';

it.each(supportedModels())('%s is the class name of what is loaded for it', async (className) => {
  const find = isTransformer(className) ? findTransformer : findGraphModel;
  expect((await find(className))?.className).toBe(className);
});
