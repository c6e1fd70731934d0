/** Against Diffusers' `prompt_clean` with ftfy (fixtures/pipelines/wan/prompts.json). */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { fixtures } from '../../models/testing/golden.ts';
import { cleanPrompt } from './clean-prompt.ts';

const cases: [prompt: string, cleaned: string][] = JSON.parse(
  readFileSync(path.join(fixtures, 'pipelines/wan/prompts.json'), 'utf8'),
);

describe('prompts for Wan', () => {
  it.each(cases)('%j', (prompt, cleaned) => {
    expect(cleanPrompt(prompt)).toBe(cleaned);
  });

  it('a prompt escaped without end is done in no time', () => {
    expect(cleanPrompt(`&${'amp;'.repeat(25_000)}`)).toContain('amp;');
  });
});
