/** A request's options as a pipeline's settings: named, checked, with every default filled in, and what has no effect said. */

import { readArguments, whatIsWrong } from '../../errors/arguments.ts';
import { DejaDitError } from '../../errors/errors.ts';
import { isSpellingOf, underOurNames } from '../../errors/options.ts';
import type { WarningLog } from '../../errors/warnings.ts';
import { type Conditions, readConditions } from '../request/conditions.ts';
import { elsewhere, neutral } from './catalogue.ts';
import type { GenerateOptions, OptionName } from './options.ts';
import type { AnyPipelineOptions, ResolvedOptions } from './pipeline-options.ts';

/** Options that are never left open. */
type Filled<Spec extends AnyPipelineOptions> =
  | 'numInferenceSteps'
  | 'numImages'
  | 'outputType'
  | Extract<
      {
        [Name in keyof Spec['options']]: Spec['options'][Name] extends { default: unknown } ? Name : never;
      }[keyof Spec['options']],
      OptionName
    >;

/** What a pipeline's plan is made from. */
export type Settings<Spec extends AnyPipelineOptions> = Omit<GenerateOptions, Filled<Spec>> & {
  [Name in Filled<Spec>]: NonNullable<GenerateOptions[Name]>;
} & (Spec extends { conditions: unknown } ? PromptSettings : unknown);

export interface PromptSettings {
  /** What the prompts say. */
  conditions: Conditions;
  /** Pictures of the request. */
  batch: number;
}

/** Without arguments that no option answers to, but that ask for what is the case anyway. */
function withoutNeutral(request: unknown, options: ResolvedOptions): object {
  if (typeof request !== 'object' || request === null || Array.isArray(request)) return request as object;
  const isNeutral = ([key, value]: [string, unknown]) => {
    const name = Object.keys(neutral).find((known) => isSpellingOf(key, [known]));
    return name !== undefined && neutral[name]!(value) && !options.has(name as OptionName);
  };
  return Object.fromEntries(Object.entries(request).filter((entry) => !isNeutral(entry)));
}

export interface SettingsReading<Spec extends AnyPipelineOptions> {
  /** Its name, for messages. */
  pipeline: string;
  spec: Spec;
  options: ResolvedOptions;
  warnings: WarningLog;
}

/**
 * Options that are `undefined` or null count as not given. `numInferenceSteps` becomes the length of the request's own schedule.
 * @throws DejaDitError INVALID_ARGUMENT naming the option that is unknown or cannot be used; warns about those that have no effect
 */
export function readSettings<Spec extends AnyPipelineOptions>(
  request: unknown,
  { pipeline, spec, options, warnings }: SettingsReading<Spec>,
): Settings<Spec> {
  const types = Object.fromEntries([...options].map(([name, { type }]) => [name, type] as const));
  const asked = withoutNeutral(request, options);
  const given: GenerateOptions = readArguments(types, asked, { of: pipeline, elsewhere });
  const idle = (name: OptionName, because: string | false | undefined) => {
    if (because && given[name] !== undefined) warnings.add(`${name} has no effect ${because}`);
  };

  const asNull = underOurNames(types, asked, { of: pipeline, elsewhere });
  for (const [name, { option }] of options)
    if (option.nullIs !== undefined && asNull[name] === null) Object.assign(given, { [name]: option.nullIs });

  const settings: GenerateOptions = {
    ...Object.fromEntries([...options].map(([name, { default: value }]) => [name, value])),
    ...given,
  };
  // Embeddings replace the checkpoint's texts; only texts of the same request contradict them.
  for (const [embeds, text] of [
    ['promptEmbeds', 'prompt'],
    ['negativePromptEmbeds', 'negativePrompt'],
  ] as const)
    if (given[embeds] !== undefined && given[text] === undefined) delete settings[text];
  const reasons = [...options.values()].map(({ name, unused, idle: rule, default: value }) => {
    return { name, value, because: unused ?? (rule?.when(settings) ? rule.because : undefined) };
  });
  for (const { name, value, because } of reasons) {
    if (because === undefined) continue;
    idle(name, because);
    Object.assign(settings, { [name]: value });
  }

  const { sigmas, timesteps } = settings;
  if (sigmas && timesteps)
    throw new DejaDitError('INVALID_ARGUMENT', 'sigmas are given too; give one of the two', { path: 'timesteps' });
  const schedule = sigmas ?? timesteps;
  if (schedule) {
    if (given.numInferenceSteps !== schedule.length)
      idle('numInferenceSteps', `with a schedule of ${schedule.length} steps`);
    settings.numInferenceSteps = schedule.length;
  }
  // A prompt may have embeddings in its place.
  for (const { name, required, type } of options.values())
    if (required && name !== spec.conditions?.texts[0] && settings[name] === undefined) {
      const message = whatIsWrong(type, undefined, name)?.message ?? 'is missing';
      throw new DejaDitError('INVALID_ARGUMENT', message, { path: name });
    }
  if (!spec.conditions) return settings as Settings<Spec>;
  const conditions = readConditions(settings, { names: spec.conditions, guidance: spec.guidance, idle });
  return { ...settings, conditions, batch: conditions.positive.count * settings.numImages! } as Settings<Spec>;
}
