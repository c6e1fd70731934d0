/**
 * Which options a pipeline takes, as a value that is known without a model: picked from the catalogue, with the pipeline's own defaults,
 * bounds and reasons why one may be idle. What a loaded model determines is completed by `resolveOptions`.
 */
import type { z } from 'zod';
import { whatIsWrong } from '../../errors/arguments.ts';
import { DejaDitError } from '../../errors/errors.ts';
import { alsoCalled, isSpellingOf } from '../../errors/options.ts';
import { type ConditionNames, conditionOptionNames, type GuidanceRule } from '../request/conditions.ts';
import { catalogue, commonOptions, type Option, optionNames } from './catalogue.ts';
import type { Bounds } from './kinds.ts';
import type { GenerateOptions, OptionName } from './options.ts';

/** What a loaded model determines, and where it has it from. */
export interface FromModel<Model, Value> {
  from: string;
  of(model: Model): Value;
}

/**
 * @param from in words, which end a sentence: `default: …`
 */
export function fromModel<Model, Value>(from: string, of: (model: Model) => Value): FromModel<Model, Value> {
  return { from, of };
}

/** When a given option changes nothing: a warning, never an error. */
export interface IdleRule<Subject> {
  /** Ends `<option> has no effect …`, with what to do where there is something. */
  because: string;
  when(subject: Subject): boolean;
}

export interface OptionUse<Model, Value> {
  default?: Value | FromModel<Model, Value>;
  /** Whether every request needs it. */
  required?: boolean;
  min?: number | FromModel<Model, number>;
  max?: number | FromModel<Model, number>;
  multipleOf?: number | FromModel<Model, number>;
  names?: FromModel<Model, readonly string[]>;
  /** In requests with certain other settings. */
  idle?: IdleRule<GenerateOptions>;
  /** With certain models. */
  unused?: IdleRule<Model>;
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
  /** Whether every request needs it; a prompt may have embeddings in its place, which JSON cannot hold. */
  required: boolean;
  /** What a loaded model would determine, in words. */
  unknown: readonly string[];
  idle: IdleRule<GenerateOptions> | undefined;
  /** Why it has no effect with the loaded model. */
  unused: string | undefined;
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
  const guided = spec.guidance ? ['guidanceInterval'] : [];
  const taken = new Set<string>([...conditions, ...guided, ...Object.keys(uses), ...commonOptions]);
  const own = loaded ? checkpointDefaults(loaded.defaults) : {};
  const resolved = optionNames
    .filter((name) => taken.has(name))
    .map((name): [OptionName, ResolvedOption] => {
      const { idle, unused: rule, default: preset, required: needed = false, ...limits } = uses[name] ?? {};
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
      const type = alsoCalled(option.value(bounds), ...(option.aliases ?? []));
      const fallback = known(preset, 'default') ?? option.default;
      const value = Object.hasOwn(own, name) ? checkDefault(type, own[name], name) : fallback;
      const required = value === undefined && (needed || name === spec.conditions?.texts[0]);
      const unused = loaded && rule?.when(loaded.model) ? rule.because : undefined;
      if (!loaded && rule) unknown.push(`no effect with some models: ${rule.because}`);
      return [name, { name, option, type, default: value, unknown, required, idle, unused }];
    });
  return new Map(resolved);
}

function isFromModel<Model, Value>(value: unknown): value is FromModel<Model, Value> {
  return typeof value === 'object' && value !== null && 'from' in value && 'of' in value;
}

const defaultsFile = 'generation_config.json';

/** What is a request's own business, and none of a file that comes with a model. */
const ofRequests: readonly OptionName[] = [...commonOptions, 'image'];
const ofCheckpoints = optionNames.filter(
  (name) => !ofRequests.includes(name) || name === 'numInferenceSteps' || name === 'numImages',
);

/** What the file says of options; files of Transformers have many other fields. */
function checkpointDefaults(defaults: Readonly<Record<string, unknown>>): Partial<Record<OptionName, unknown>> {
  const nameOf = (key: string) =>
    ofCheckpoints.find((name) => isSpellingOf(key, [name, ...(catalogue[name].aliases ?? [])]));
  const entries = Object.entries(defaults).map(([key, value]) => [nameOf(key), value] as const);
  return Object.fromEntries(entries.filter(([name, value]) => name !== undefined && value !== null));
}

function checkDefault(type: z.ZodType, value: unknown, name: string): unknown {
  const wrong = whatIsWrong(type, value, name);
  if (!wrong) return value;
  throw new DejaDitError('INVALID_CONFIG', `${wrong.path}: ${wrong.message}`, { path: defaultsFile });
}
