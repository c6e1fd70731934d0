import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { seeded } from '../files/testing/fuzz.ts';
import { fuzzTokenizers } from './testing/fuzz.ts';

it('damaged tokenizers are taken or refused with one line', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'tokenizer-fuzz-'));
  try {
    const outcomes = await fuzzTokenizers(300, { random: seeded(5), folder });
    expect(Object.values(outcomes).reduce((sum, count) => sum + count, 0)).toBe(300);
    expect(outcomes.taken).toBeGreaterThan(20);
    expect(outcomes.INVALID_FILE).toBeGreaterThan(50);
  } finally {
    await rm(folder, { recursive: true });
  }
});
