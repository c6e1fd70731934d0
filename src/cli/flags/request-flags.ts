/** The flags of a request, made from the catalogue of options; what a flag's value is follows from its placeholder. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { DejaDitError } from '../../errors/errors.ts';
import type { PipelineTraits } from '../../pipelines/pipeline.ts';
import { catalogue, optionGroups, optionNames } from '../../pipelines/schema/catalogue.ts';
import type { Bounds } from '../../pipelines/schema/kinds.ts';
import type { GenerateOptions, OptionName } from '../../pipelines/schema/options.ts';
import { integer, number, numbers, size } from './numbers.ts';

/** Values by the attribute names that commander makes of flags. */
export type RequestFlags = Readonly<Record<string, unknown>>;

const parsers: Readonly<Record<string, (bounds: Bounds) => ((text: string) => unknown) | undefined>> = {
  '<n>': integer,
  '<x>': number,
  '<list>': () => numbers,
  '<WxH>': () => size,
  '<on|off>': () => onOrOff,
  '<text>': () => undefined,
  '<name>': () => undefined,
  '<file>': () => undefined,
};

/** Of what is on with some models and off with others. */
function onOrOff(text: string): boolean {
  if (text !== 'on' && text !== 'off') throw new InvalidArgumentError('It must be on or off.');
  return text === 'on';
}

const isSize = (name: OptionName) => name === 'width' || name === 'height';

/** `maxMemory` is among the flags that limit memory. */
const names = optionNames.filter((name) => catalogue[name].flag !== undefined && name !== 'maxMemory');

function flagOf(name: OptionName): Option {
  const { flag, help, bounds } = catalogue[name];
  const option = new Option(flag!, isSize(name) ? 'size in pixels, as 512 or 768x512' : help);
  if (option.negate) option.description = `do not ${help}`;
  const parse = parsers[/<.*>/.exec(flag!)?.[0] ?? '']?.(bounds ?? {});
  return parse ? option.argParser(parse) : option;
}

/** Adds the flags to a command, in groups. */
export function addRequestFlags(command: Command): Command {
  for (const group of optionGroups) {
    command.optionsGroup(`${group}:`);
    for (const name of names) if (catalogue[name].group === group && name !== 'height') command.addOption(flagOf(name));
  }
  return command.optionsGroup('Options:');
}

/**
 * What the flags ask of a pipeline.
 * @throws DejaDitError INVALID_ARGUMENT for two flags that set the same option of this pipeline
 */
export function requestOptions(flags: RequestFlags, { guidance }: PipelineTraits): GenerateOptions {
  const options: Record<string, unknown> = {};
  for (const name of names) {
    const option = flagOf(name);
    const value = flags[option.attributeName()];
    if (value === undefined || (option.negate && value === true)) continue;
    if (isSize(name)) options[name] = (value as Record<string, unknown>)[name];
    else if (name !== 'guidanceScale') options[name] = value;
  }
  const scale = flags['guidance'];
  if (scale === undefined) return options;
  if (options[guidance] !== undefined)
    throw new DejaDitError(
      'INVALID_ARGUMENT',
      `--guidance is ${flagNames.get(guidance)} with this model; give one of the two`,
    );
  return { ...options, [guidance]: scale };
}

/** Long flags by the options that they set. */
export const flagNames: ReadonlyMap<string, string> = new Map(
  [...names, 'maxMemory' as const].map((name) => [name, new Option(catalogue[name].flag!).long!]),
);
