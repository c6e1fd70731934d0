/**
 * Which options a pipeline takes, as a value that is known without a model: picked from the catalogue, with the pipeline's own defaults,
 * bounds and reasons why one may be idle. What a loaded model determines is completed by `resolveOptions`.
 */
import type { z } from 'zod';
import { DejaDitError } from '../../errors/errors.ts';
import { nameFinder, readValue } from '../../errors/options.ts';
import { type ConditionNames, conditionOptionNames, type GuidanceRule } from '../conditions.ts';
import type { GenerateOptions, OptionName } from '../options.ts';
import { catalogue, commonOptions, type Option, optionNames } from './catalogue.ts';
import type { Bounds } from './kinds.ts';

/** What a loaded model determines, and where it has it from. */
export interface FromModel<Model, Value> {
  from: string;
  of(model: Model): Value;
}

/**
 * @param from in words, which end a sentence: `default: …`
 * @example
 * const height = { default: fromModel("the autoencoder's sample_size", (model: { sampleSize: number }) => model.sampleSize) };
 */
export function fromModel<Model, Value>(from: string, of: (model: Model) => Value): FromModel<Model, Value> {
  return { from, of };
}

/** A given option that changes nothing: a warning, never an error. */
export interface IdleRule<Model> {
  /** Ends `<option> has no effect …`, with what to do where there is something. */
  because: string;
  when(given: GenerateOptions, model: Model): boolean;
}

export interface OptionUse<Model, Value> {
  default?: Value | FromModel<Model, Value>;
  min?: number | FromModel<Model, number>;
  max?: number | FromModel<Model, number>;
  multipleOf?: number | FromModel<Model, number>;
  names?: FromModel<Model, readonly string[]>;
  idle?: IdleRule<Model>;
}

export interface PipelineOptions<Model> {
  /** The texts and embeddings of pipelines that draw from a prompt. All of their options are taken. */
  conditions?: ConditionNames;
  /** When requests with a prompt are guided. */
  guidance?: GuidanceRule;
  /** Beside these and `commonOptions`, and what is special about them. */
  options: { readonly [Name in OptionName]?: OptionUse<Model, NonNullable<GenerateOptions[Name]>> } & {
    readonly numInferenceSteps: { default: number };
  };
}

/** Whatever the model. */
// biome-ignore lint/suspicious/noExplicitAny: rules of one pipeline are only called with its own model
export type AnyPipelineOptions = PipelineOptions<any>;

/** An option of one pipeline, or of a loaded one. */
export interface ResolvedOption {
  name: OptionName;
  /** Of the catalogue. */
  option: Option<unknown>;
  /** Within the bounds that are known. */
  type: z.ZodType;
  default: unknown;
  /** What a loaded model would determine, in words. */
  unknown: readonly string[];
  idle: IdleRule<unknown> | undefined;
}

export type ResolvedOptions = ReadonlyMap<OptionName, ResolvedOption>;

/** What a loaded model adds. */
export interface Loaded<Model> {
  model: Model;
  /** Its `generation_config.json`. */
  defaults: Readonly<Record<string, unknown>>;
}

/**
 * The options of a pipeline, in the order of the catalogue.
 * @param loaded without it, what the model determines stays open
 * @throws DejaDitError INVALID_CONFIG if a default of the checkpoint is none that the option can have
 */
export function resolveOptions<Model>(spec: PipelineOptions<Model>, loaded?: Loaded<Model>): ResolvedOptions {
  const uses: Partial<Record<OptionName, OptionUse<Model, unknown>>> = spec.options;
  const conditions = spec.conditions ? conditionOptionNames(spec.conditions) : [];
  const taken = new Set<string>([...conditions, ...Object.keys(uses), ...commonOptions]);
  const own = loaded ? checkpointDefaults(loaded.defaults, taken) : {};
  const resolved = optionNames
    .filter((name) => taken.has(name))
    .map((name): [OptionName, ResolvedOption] => {
      const { idle, default: preset, ...limits } = uses[name] ?? {};
      const option: Option<unknown> = catalogue[name];
      const unknown: string[] = [];
      const known = <Value>(value: Value | FromModel<Model, Value> | undefined, what: string): Value | undefined => {
        if (!isFromModel<Model, Value>(value)) return value;
        if (loaded) return value.of(loaded.model);
        unknown.push(`${what}: ${value.from}`);
        return undefined;
      };
      const bounds: Bounds = {
        ...option.bounds,
        ...Object.fromEntries(
          Object.entries(limits).flatMap(([key, limit]) => {
            const value = known<unknown>(limit, key === 'multipleOf' ? 'multiple of' : key);
            return value === undefined ? [] : [[key, value]];
          }),
        ),
      };
      const type = option.value(bounds);
      const fallback = known(preset, 'default') ?? option.default;
      const value = Object.hasOwn(own, name) ? checkDefault(type, own[name], name) : fallback;
      return [name, { name, option, type, default: value, unknown, idle: idle as IdleRule<unknown> | undefined }];
    });
  return new Map(resolved);
}

function isFromModel<Model, Value>(value: unknown): value is FromModel<Model, Value> {
  return typeof value === 'object' && value !== null && 'from' in value && 'of' in value;
}

/** Other names of options, for the reader. */
export const aliases: Readonly<Record<string, readonly string[]>> = Object.fromEntries(
  Object.entries<Option<unknown>>(catalogue).map(([name, { aliases = [] }]) => [name, aliases]),
);

const defaultsFile = 'generation_config.json';

/** What the file says of these options; files of Transformers have many other fields. */
function checkpointDefaults(
  defaults: Readonly<Record<string, unknown>>,
  taken: ReadonlySet<string>,
): Record<string, unknown> {
  const find = nameFinder([...taken], aliases);
  const known = Object.entries(defaults).filter(([name, value]) => find(name) !== undefined && value !== null);
  return Object.fromEntries(known.map(([name, value]) => [find(name), value]));
}

function checkDefault(type: z.ZodType, value: unknown, name: string): unknown {
  const file = { path: defaultsFile };
  readValue(type, value, (_, message) => new DejaDitError('INVALID_CONFIG', `${name}: ${message}`, file));
  return value;
}
