/** Help, documentation and messages say what the schemas of the options say. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { supportedPipelines } from '../../pipelines/registry.ts';
import { catalogue, type Option } from '../../pipelines/schema/catalogue.ts';
import { optionsSchema } from '../../pipelines/schema/options-schema.ts';
import { CliCommand } from '../command.ts';
import { optionsPage } from '../options-table.ts';
import { inFlags } from './flag-names.ts';
import { addRequestFlags, requestOptions } from './request-flags.ts';

const all = Object.entries<Option<unknown>>(catalogue);
const traits = { subject: 'prompt', guidance: 'trueCfgScale', output: 'images', levels: 'flows' } as const;

const parse = (...flags: string[]) => {
  const command = addRequestFlags(new CliCommand()).exitOverride();
  command.configureOutput({ writeErr: () => {} });
  return requestOptions(command.parse(flags, { from: 'user' }).opts(), traits);
};

describe('generate --help', () => {
  const help = addRequestFlags(new CliCommand()).helpInformation().replace(/\s+/g, ' ');

  // Memory, caches and LoRAs have flags elsewhere, pictures are what the command makes, and a template is an object.
  const elsewhere = ['prompt', 'classLabels', 'maxMemory', 'cache', 'loras', 'outputType', 'promptTemplate'];

  it('lists every option that a command line can set', async () => {
    const schemas = await Promise.all(supportedPipelines().map((name) => optionsSchema(name)));
    const told = new Set(schemas.flatMap(({ properties }) => Object.keys(properties)));
    for (const [name, { flag, help: line }] of all) {
      if (!told.has(name) || elsewhere.includes(name)) continue;
      expect(flag, name).toBeDefined();
      expect(help).toContain(flag);
      if (name !== 'width' && name !== 'height') expect(help).toContain(line);
    }
  });
});

it('flags are options', () => {
  expect(parse('--steps', '4', '--size', '64x32', '-g', '2', '--sigmas', '1,0.5', '--no-resolution-binning')).toEqual({
    numInferenceSteps: 4,
    width: 64,
    height: 32,
    trueCfgScale: 2,
    sigmas: [1, 0.5],
    useResolutionBinning: false,
  });
  expect(parse('--clean-caption', 'off')).toEqual({ cleanCaption: false });
  expect(parse()).toEqual({});
});

it.each([
  [['--step', '4'], "unknown flag '--step'; did you mean --steps? known: "],
  [['--steps', '0'], 'It must be an integer from 1 to 10000.'],
  [['--clean-caption', 'no'], 'It must be on or off.'],
  [['-g', '2', '--true-cfg-scale', '3'], '--guidance is --true-cfg-scale with this model; give one of the two'],
])('%j is refused', (flags, message) => expect(() => parse(...flags)).toThrow(message));

it('messages name flags', () => {
  expect(inFlags('cfgTruncation: expected a number')).toBe('--cfg-truncation: expected a number');
  expect(inFlags('sigmas: expected a list of numbers')).toBe('--sigmas: expected a list of numbers');
});

it('docs/options.md is current; npm run docs:options makes it', async () => {
  expect(readFileSync(path.resolve(import.meta.dirname, '../../../docs/options.md'), 'utf8')).toBe(await optionsPage());
});
