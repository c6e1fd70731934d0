/** Against `ROPE_INIT_FUNCTIONS` of Transformers (fixtures/text-encoders/yarn.json). */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { ConfigReader } from '../config-reader.ts';
import { fixtures } from '../testing/golden.ts';
import { readRope } from './rope.ts';

interface Case {
  rope_parameters: Record<string, unknown>;
  frequencies: number[];
  attention: number;
}

const cases: Case[] = JSON.parse(readFileSync(path.join(fixtures, 'text-encoders/yarn.json'), 'utf8'));

it.each(cases)('YaRN of $rope_parameters', ({ rope_parameters, frequencies, attention }) => {
  const config = new ConfigReader({ rope_parameters, max_position_embeddings: 131072 }, 'config.json');
  const rope = readRope(config, 64, { theta: 10000, rotaryFactor: 1 });
  expect(rope.amplitude).toBeCloseTo(attention, 12);
  expect(rope.frequencies).toHaveLength(frequencies.length);
  for (const [i, frequency] of rope.frequencies.entries())
    expect(Math.abs(frequency / frequencies[i]! - 1), `pair ${i}`).toBeLessThan(3e-7);
});
