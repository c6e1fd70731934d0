/**
 * Every family under every scheme computes what one process computes. The models are small, with odd numbers of tokens and fewer heads than
 * some schemes have ranks. Here the ranks take turns in one thread; threads of their own are for `threads.test.ts`.
 */
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AutoModel } from '../models/auto-model.ts';
import { fixtures, type GoldenCase, readGolden } from '../models/testing/golden.ts';
import type { ModelOutput, TransformerModel } from '../models/transformer-model.ts';
import type { MeshSize } from './partition/mesh.ts';
import { inOneThread, largestError } from './testing/ranks.ts';

const families = ['flux', 'qwenimage', 'wan', 'zimage', 'sd3', 'dit', 'sana', 'hunyuanvideo'];
/** Of these only what joins all schemes. */
const others = ['flux2', 'chroma', 'cogview4', 'ltx', 'lumina2', 'pixart'];

const schemes: Record<string, Partial<MeshSize>> = {
  'ulysses 2': { ulysses: 2 },
  'ulysses 4': { ulysses: 4 },
  'ring 2': { ring: 2 },
  'tp 2': { tensor: 2 },
  'ring 2, ulysses 2': { ring: 2, ulysses: 2 },
  'ulysses 2, tp 2': { ulysses: 2, tensor: 2 },
  'ring 2, ulysses 2, tp 2': { ring: 2, ulysses: 2, tensor: 2 },
};

describe.each([...families, ...others])('%s', (family) => {
  let model: TransformerModel;
  let golden: GoldenCase;
  let alone: ModelOutput;

  beforeAll(async () => {
    model = await AutoModel.fromPretrained(path.join(fixtures, 'models', family));
    golden = await readGolden(`models/${family}`);
    alone = await model.forward(golden.inputs);
  });
  afterAll(() => model.dispose());

  const names = Object.keys(schemes);
  it.each(families.includes(family) ? names : names.slice(-1))('%s', async (name) => {
    model.moveTo(inOneThread(model, schemes[name]!));
    expect(largestError(await model.forward(golden.inputs), alone)).toBeLessThan(1e-5);
  });
});
