import { describe, expect, it } from 'vitest';
import { WarningLog } from '../../errors/warnings.ts';
import { floatTensor } from '../../tensor/tensor.ts';
import type { GenerateOptions } from '../schema/options.ts';
import { type PipelineOptions, resolveOptions } from '../schema/pipeline-options.ts';
import { readSettings } from '../schema/read-settings.ts';
import { warningsOf } from '../testing/warnings.ts';
import { type ConditionNames, type GuidanceRule, guidanceBranches } from './conditions.ts';

const names: ConditionNames = {
  texts: ['prompt', 'prompt2'],
  embeds: ['promptEmbeds', 'pooledPromptEmbeds'],
  masks: ['promptAttentionMask'],
  besides: ['promptEmbeds2', 'promptEmbedsMask2'],
};
/** What a pipeline of these conditions makes of a request. */
const read = (given: GenerateOptions, guidance: GuidanceRule = { option: 'guidanceScale' }) => {
  const spec = {
    conditions: names,
    guidance,
    options: { numInferenceSteps: { default: 1 }, guidanceScale: { default: 5 }, trueCfgScale: { default: 4 } },
  } as const satisfies PipelineOptions<undefined>;
  const options = resolveOptions(spec);
  const warnings = new WarningLog();
  return readSettings(given, { pipeline: 'Some', spec, options, warnings }).conditions;
};
const embeds = (count: number) => floatTensor(new Float32Array(count * 6), [count, 3, 2]);
const pooled = (count: number) => floatTensor(new Float32Array(count * 2), [count, 2]);

describe('the conditions of a request', () => {
  it('uses the first text for all encoders, and one text for all prompts', () => {
    const { positive, negative } = read({ prompt: ['a', 'b'], prompt2: 'c', negativePrompt: 'd' });
    expect(positive).toMatchObject({
      count: 2,
      texts: [
        ['a', 'b'],
        ['c', 'c'],
      ],
    });
    expect(negative).toMatchObject({
      count: 2,
      texts: [
        ['d', 'd'],
        ['d', 'd'],
      ],
    });
  });

  it('takes what stands beside texts, a row for every prompt', async () => {
    const given = { prompt: ['a', 'b'], promptEmbeds2: embeds(2), negativePromptEmbeds2: embeds(2) };
    const { positive, negative } = read(given);
    expect(positive.besides).toEqual({ promptEmbeds2: embeds(2) });
    expect(negative?.besides).toEqual({ promptEmbeds2: embeds(2) });
    expect(() => read({ ...given, promptEmbeds2: embeds(1) })).toThrow(/^promptEmbeds2: 1 rows for 2 prompts/);
    expect(() => read({ ...given, negativePromptEmbeds2: embeds(1) })).toThrow(
      /^negativePromptEmbeds2: 1 rows for 2 prompts/,
    );
    expect(await warningsOf(async () => read({ ...given, guidanceScale: 1 }))).toMatch(
      /^negativePromptEmbeds2 has no effect at guidanceScale 1/m,
    );
  });

  it('puts an empty text in for a negative prompt that guidance needs', () => {
    expect(read({ prompt: 'a' }).negative?.texts).toEqual([[''], ['']]);
    expect(read({ prompt: 'a', negativePrompt: null } as object).negative?.texts).toEqual([[''], ['']]);
    expect(read({ prompt: 'a', negativePrompt2: 'x' }).negative?.texts).toEqual([[''], ['x']]);
    expect(read({ prompt: 'a', guidanceScale: 1 }).negative).toBeUndefined();
    expect(read({ prompt: 'a' }, { option: 'trueCfgScale', needsNegative: true }).negative).toBeUndefined();
  });

  it('takes embeddings in place of texts, one negative for all prompts', () => {
    const given = { promptEmbeds: embeds(2), pooledPromptEmbeds: pooled(2) };
    const negative = { negativePromptEmbeds: embeds(1), negativePooledPromptEmbeds: pooled(1) };
    const conditions = read({ ...given, ...negative });
    expect(conditions.positive).toMatchObject({ count: 2, texts: [], embeds: given });
    expect(conditions.negative).toMatchObject({ count: 2, texts: [], embeds: { promptEmbeds: { shape: [2, 3, 2] } } });
  });

  it.each([
    [{}, /prompt: expected a string or a list of strings \(or promptEmbeds and pooledPromptEmbeds\)/],
    [{ prompt: null }, /prompt: expected a string or a list of strings \(or/],
    [{ prompt: [] }, /prompt: is an empty list/],
    [{ prompt: ['a', null] }, /prompt\[1\]: expected a string, got null/],
    [{ prompt: Array(3) }, /prompt\[0\]: expected a string, got undefined/],
    [{ prompt: [['a']] }, /prompt\[0\]: expected a string, got \["a"\]/],
    [{ prompt: 7 }, /prompt: expected a string or a list of strings, got 7/],
    [{ prompt: Array(100_000).fill('a') }, /prompt: 100000 of them, at most 1024/],
    [{ prompt: ['a', 'a'.repeat(1_000_000)] }, /prompt\[1\]: a text of 1000000 characters is too long/],
    [{ prompt: 'a', negativePrompt: 'b\ud83d' }, /negativePrompt: has half a character .* at position 1$/],
    [{ prompt: 'a', prompt2: ['a', 3] }, /prompt2\[1\]: expected a string, got 3/],
    [{ prompt: ['a', 'b', 'c'], prompt2: ['a', 'b'] }, /prompt2: 2 texts for 3 prompts/],
    [{ prompt2: 'a' }, /prompt: missing/],
    [{ prompt: ['a', 'b'], negativePrompt: ['a', 'b', 'c'] }, /negativePrompt: 3 of them for 2 prompts/],
    [{ prompt: 'a', promptEmbeds: embeds(1) }, /prompt: promptEmbeds takes the place of texts/],
    [{ promptEmbeds: embeds(1) }, /pooledPromptEmbeds: missing, it goes with promptEmbeds/],
    [{ promptAttentionMask: pooled(1) }, /promptEmbeds: missing, it goes with promptAttentionMask/],
    [{ promptEmbeds: embeds(2), pooledPromptEmbeds: pooled(1) }, /pooledPromptEmbeds: 1 rows, but promptEmbeds has 2/],
    [{ promptEmbeds: [1], pooledPromptEmbeds: pooled(1) }, /promptEmbeds: expected a Tensor/],
    [{ prompt: 'a', negativePromptEmbeds: embeds(1) }, /negativePooledPromptEmbeds: missing/],
  ])('refuses %#', (given, message) => {
    expect(() => read(given as GenerateOptions)).toThrow(message);
  });

  it('says what has no effect', async () => {
    const warnings = await warningsOf(async () => {
      read({ prompt: 'a', negativePrompt: 'b', guidanceScale: 1 });
      read({ prompt: 'a', trueCfgScale: 4 }, { option: 'trueCfgScale', needsNegative: true });
    });
    expect(warnings).toMatch(/^negativePrompt has no effect at guidanceScale 1; set it above 1$/m);
    expect(warnings).toMatch(/^trueCfgScale has no effect without a negativePrompt/m);
  });
});

describe('guidanceBranches', () => {
  it('repeats rows and list items for the pictures of each prompt', async () => {
    const conditions = read({ prompt: ['a', 'b'], guidanceScale: 1 });
    const [branch, ...others] = await guidanceBranches(conditions, 2, async () => ({
      rows: floatTensor([1, 2, 3, 4], [2, 2]),
      list: ['a', 'b'],
    }));
    expect(others).toEqual([]);
    expect(branch).toEqual({
      name: 'cond',
      inputs: { rows: floatTensor([1, 2, 1, 2, 3, 4, 3, 4], [4, 2]), list: ['a', 'a', 'b', 'b'] },
    });
  });
});
