/**
 * What a guidance branch is conditioned on: texts, or embeddings that the caller made in their place. How texts become
 * embeddings is in `text-encoder.ts` and in each pipeline.
 */
import { DejaDitError } from '../../errors/errors.ts';
import type { ForwardInputs, InputValue } from '../../models/inputs.ts';
import { Tensor } from '../../tensor/tensor.ts';
import type { GenerateOptions, OptionName } from '../schema/options.ts';
import type { GuidanceBranch } from './denoise.ts';
import { repeatRows, swapFirstAxes } from './tensors.ts';

/** The options that condition a pipeline, under the names they have for the positive prompt. */
export interface ConditionNames {
  /** One per text encoder; the first stands in for the others. */
  texts: readonly ('prompt' | 'prompt2' | 'prompt3' | 'prompt4')[];
  /** Embeddings, all of which are needed in place of texts. */
  embeds: readonly (
    | 'promptEmbeds'
    | 'pooledPromptEmbeds'
    | 'promptEmbedsT5'
    | 'promptEmbedsLlama3'
    | 'promptEmbedsQwen'
    | 'promptEmbedsClip'
  )[];
  /** Masks that may come with embeddings. */
  masks?: readonly ('promptAttentionMask' | 'promptEmbedsMask')[];
  /** Tensors that may come with texts as well as with embeddings. */
  besides?: readonly ('promptEmbeds2' | 'promptEmbedsMask2')[];
  /** Whether `promptEmbeds` is a list with one tensor per prompt. */
  ragged?: boolean;
  /** Whether there is no negative prompt: models whose guidance was distilled into them. */
  positiveOnly?: boolean;
}

export interface Condition {
  /** Number of prompts. */
  count: number;
  /** `count` texts per text encoder; empty with embeddings. */
  texts: readonly (readonly string[])[];
  /** By the positive prompt's names, in float32, with a row (or list item) per prompt. */
  embeds: Readonly<Record<string, InputValue>> | undefined;
  /** By the positive prompt's names, in float32. */
  besides: Readonly<Record<string, Tensor>>;
}

/** Every option name that conditions, positive and negative. */
export function conditionOptionNames({
  texts,
  embeds,
  masks = [],
  besides = [],
  positiveOnly,
}: ConditionNames): OptionName[] {
  const positive = [...texts, ...embeds, ...masks, ...besides];
  return positiveOnly ? positive : positive.flatMap((name) => [name, negativeName(name)]);
}

/** When a request is guided. */
export interface GuidanceRule {
  /** The option that is the scale. */
  option: 'guidanceScale' | 'trueCfgScale';
  /** Guidance is on above this scale. Default 1. */
  above?: number;
  /** Whether guidance is on with a negative prompt only. Default: an empty one stands in. */
  needsNegative?: boolean;
}

export interface Conditions {
  positive: Condition;
  /** Absent where guidance is off. */
  negative: Condition | undefined;
}

export interface ConditionReading {
  names: ConditionNames;
  /** Absent where there is no negative prompt. */
  guidance: GuidanceRule | undefined;
  /** Told of options that have no effect, if they are given at all, and why. */
  idle(name: OptionName, because: string | false | undefined): void;
}

/**
 * The conditions of a request whose options are all of the right type.
 * @throws DejaDitError if there is no prompt, or texts as well as embeddings, or some of the embeddings only, or counts do not fit
 */
export function readConditions(settings: GenerateOptions, { names, guidance, idle }: ConditionReading): Conditions {
  const asIs: Reading = { naming: (name) => name };
  const positive = withBesides(read(settings, names, asIs), settings, names, asIs);
  if (!positive) {
    const instead = names.embeds.length > 0 ? ` (or ${names.embeds.join(' and ')})` : '';
    throw invalid(names.texts[0]!, `expected a string or a list of strings${instead}`);
  }
  for (const name of ['maxSequenceLength', 'tokenizerMaxLength'] as const)
    idle(name, positive.embeds && 'on embeddings, which have their length');
  if (!guidance) return { positive, negative: undefined };
  const { option, above = 1, needsNegative = false } = guidance;
  const scale = settings[option]!;
  const fallback = needsNegative ? undefined : '';
  const asked = withCount(read(settings, names, { naming: negativeName, fallback }), names, positive.count);
  const guided = scale > above;
  const unguided = !guided && `at ${option} ${scale}; set it above ${above}`;
  const missing = guided && needsNegative && !asked;
  idle(option, missing && "without a negativePrompt; pass negativePrompt: '' for none in particular");
  idle('negativePrompt', unguided);
  idle('negativePromptEmbeds', unguided);
  for (const name of names.besides ?? []) idle(negativeName(name), unguided);
  const empty = fallback === undefined ? undefined : emptyCondition(names, positive.count);
  const negative = guided ? withBesides(asked ?? empty, settings, names, { naming: negativeName }) : undefined;
  return { positive, negative };
}

/**
 * With the tensors that stand beside texts or embeddings.
 * @throws DejaDitError if they have another number of rows than there are prompts
 */
function withBesides(
  condition: Condition | undefined,
  given: GenerateOptions,
  { besides: names = [] }: ConditionNames,
  { naming }: Reading,
): Condition | undefined {
  if (!condition) return undefined;
  const besides: Record<string, Tensor> = {};
  for (const name of names) {
    const value = given[naming(name)];
    if (!(value instanceof Tensor)) continue;
    if (value.dim(0) !== condition.count)
      throw invalid(naming(name), `${value.dim(0)} rows for ${condition.count} prompts`);
    besides[name] = value.float();
  }
  return { ...condition, besides };
}

/**
 * Guidance branches, the positive one first.
 * @param embed the model inputs of a condition, with a row (or list item) per prompt
 */
export async function guidanceBranches(
  { positive, negative }: Conditions,
  numImages: number,
  embed: (condition: Condition, isNegative: boolean) => Promise<ForwardInputs>,
): Promise<GuidanceBranch[]> {
  const branches = [{ name: 'cond', inputs: repeatInputs(await embed(positive, false), numImages) }];
  if (negative) branches.push({ name: 'uncond', inputs: repeatInputs(await embed(negative, true), numImages) });
  return branches;
}

/** A condition for one prompt is one for all. */
function withCount(condition: Condition | undefined, names: ConditionNames, count: number): Condition | undefined {
  if (!condition || condition.count === count) return condition;
  if (condition.count > 1) {
    const path = negativeName(condition.embeds ? names.embeds[0]! : names.texts[0]!);
    throw invalid(path, `${condition.count} of them for ${count} prompts`);
  }
  return {
    count,
    texts: condition.texts.map(([text]) => Array<string>(count).fill(text!)),
    embeds: condition.embeds && repeatInputs(condition.embeds, count),
    besides: condition.besides,
  };
}

function emptyCondition({ texts }: ConditionNames, count: number): Condition {
  return { count, texts: texts.map(() => Array<string>(count).fill('')), embeds: undefined, besides: {} };
}

/** Every row (or list item) of the inputs `times` times in a row: the pictures of one prompt follow each other. */
function repeatInputs(inputs: ForwardInputs, times: number): Record<string, InputValue> {
  const repeat = (value: InputValue): InputValue => {
    if (value instanceof Tensor) return repeatRows(value, times);
    if (Array.isArray(value)) return value.flatMap((item: InputValue) => Array<InputValue>(times).fill(item));
    return isDictionary(value) ? repeatInputs(value, times) : value;
  };
  return Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, repeat(value)]));
}

/** Inputs within an input. */
export function isDictionary(value: InputValue): value is ForwardInputs {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Tensor);
}

function negativeName(name: OptionName): OptionName {
  return `negative${name[0]!.toUpperCase()}${name.slice(1)}` as OptionName;
}

interface Reading {
  /** How an option is called: as it is, or with `negative` in front. */
  naming(name: OptionName): OptionName;
  /** The first text, where only others are given. */
  fallback?: string | undefined;
}

function read(given: GenerateOptions, names: ConditionNames, reading: Reading): Condition | undefined {
  const { naming } = reading;
  const has = (name: OptionName) => given[naming(name)] !== undefined;
  const embeds = [...names.embeds, ...(names.masks ?? [])].filter(has);
  const text = names.texts.find(has);
  if (embeds.length === 0) return text && readTexts(given, names, reading);
  if (text) throw invalid(naming(text), `${naming(embeds[0]!)} takes the place of texts; give one of the two`);
  const missing = names.embeds.find((name) => !has(name));
  if (missing) throw invalid(naming(missing), `missing, it goes with ${naming(embeds[0]!)}`);
  return readEmbeds(given, { present: embeds, ragged: names.ragged ?? false, naming });
}

function readTexts(given: GenerateOptions, { texts: names }: ConditionNames, { naming, fallback }: Reading): Condition {
  const first = given[naming(names[0]!)] ?? fallback;
  if (first === undefined) {
    const others = names.map(naming).filter((name) => given[name] !== undefined);
    throw invalid(naming(names[0]!), `missing, it goes with ${others.join(' and ')}`);
  }
  const lists = names.map((name) => [(given[naming(name)] ?? first) as string | string[]].flat());
  const count = Math.max(...lists.map((list) => list.length));
  const texts = lists.map((list, i) => {
    if (list.length === count) return list;
    if (list.length === 1) return Array<string>(count).fill(list[0]!);
    throw invalid(naming(names[i]!), `${list.length} texts for ${count} prompts`);
  });
  return { count, texts, embeds: undefined, besides: {} };
}

function readEmbeds(
  given: GenerateOptions,
  { present, ragged, naming }: { present: readonly OptionName[]; ragged: boolean; naming: Reading['naming'] },
): Condition {
  let count: number | undefined;
  const embeds: Record<string, InputValue> = {};
  for (const name of present) {
    const value = given[naming(name)] as Tensor | Tensor[];
    if (Array.isArray(value) !== (ragged && name === 'promptEmbeds'))
      throw invalid(naming(name), ragged ? 'expected a list of tensors [tokens, width]' : 'expected a Tensor');
    const rowsFirst = Array.isArray(value)
      ? value.map((item) => item.float())
      : name === 'promptEmbedsLlama3'
        ? swapFirstAxes(value.float())
        : value.float();
    const rows = Array.isArray(rowsFirst) ? rowsFirst.length : rowsFirst.dim(0);
    count ??= rows;
    if (rows !== count) throw invalid(naming(name), `${rows} rows, but ${naming(present[0]!)} has ${count}`);
    embeds[name] = rowsFirst;
  }
  return { count: count!, texts: [], embeds, besides: {} };
}

function invalid(name: OptionName, message: string): DejaDitError {
  return new DejaDitError('INVALID_ARGUMENT', message, { path: name });
}
