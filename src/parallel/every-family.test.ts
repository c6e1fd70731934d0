/**
 * Every family that can be recorded computes on two ranks what it computes on one: under Ulysses, where its tokens are really dealt out, and with its
 * weights cut. One that cannot be dealt out says why.
 */
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { enableCache } from '../api/enable-cache.ts';
import { AutoModel } from '../models/auto-model.ts';
import { fixtures, readGolden } from '../models/testing/golden.ts';
import { transformerFamilies } from '../models/transformers/families.ts';
import { inOneThread, largestError } from './testing/ranks.ts';

const folder = path.join(fixtures, 'models');
const names = readdirSync(folder).filter(
  (name) => existsSync(path.join(folder, name, 'config.json')) && calls(name).length > 0,
);
const seen = new Set<string>();

describe.each(names)('%s', (name) => {
  it('on two ranks', async () => {
    await using model = await AutoModel.fromPretrained(path.join(folder, name));
    seen.add(model.className);
    const { inputs } = await readGolden(`models/${name}`, calls(name).sort()[0]);
    const alone = await model.forward(inputs);
    const { tokens, withoutTokens } = model.definition;
    model.moveTo(inOneThread(model, { tensor: 2 }));
    expect(largestError(await model.forward(inputs), alone)).toBeLessThan(1e-5);
    if (!tokens) {
      expect(() => enableCache(model, { cacheConfig: null, parallelismConfig: { ulyssesSize: 2 } })).toThrow(
        withoutTokens,
      );
      return;
    }
    model.moveTo(inOneThread(model, { ulysses: 2 }));
    expect(largestError(await model.forward(inputs), alone)).toBeLessThan(1e-5);
    const { collectives } = model.programs.backend.ranksReport!;
    const { linearAttention } = model.definition;
    expect(collectives[linearAttention ? 'allReduce' : 'allToAll']!.bytes).toBeGreaterThan(0);
    if (!linearAttention) return;
    expect(collectives['allToAll']).toBeUndefined();
    for (const field of ['ulyssesFloat8', 'ulyssesAsync'])
      expect(() =>
        enableCache(model, { cacheConfig: null, parallelismConfig: { ulyssesSize: 2, [field]: true } }),
      ).toThrow(`${field}: SanaTransformer2DModel has linear attention`);
  });
});

it('leaves none out', () => {
  expect([...seen].sort()).toEqual(Object.keys(transformerFamilies).filter(isRecorded).sort());
});

/** What Diffusers reads as another class is recorded under that one. */
const isRecorded = (className: string) => className !== 'Transformer2DModel';

function calls(name: string): string[] {
  return readdirSync(path.join(folder, name)).flatMap((file) => /^(io.*)\.safetensors$/.exec(file)?.[1] ?? []);
}
