/** The kinds of values that options have, as zod types: what the checks, their messages and the JSON Schema are made from. */
import * as z from 'zod';
import { ofValue } from '../../errors/arguments.ts';
import { suggest } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import { Image } from '../../images/image.ts';
import { Generator } from '../../tensor/generator.ts';
import { Tensor } from '../../tensor/tensor.ts';
import { halfCharacter, longestText } from '../../tokenizers/limits.ts';
import type { ImageSource } from '../request/start-images.ts';
import type { PromptTemplate } from './options.ts';

/** What a pipeline, or a model, sets for the values of an option. Each kind reads those that mean something to it. */
export interface Bounds {
  min?: number | undefined;
  max?: number | undefined;
  multipleOf?: number | undefined;
  /** Words that may stand for a number. */
  names?: readonly string[] | undefined;
}

/** A message that names what is expected and what came. */
export const expecting = (expected: string) => (issue: { input?: unknown }) => `${expected}, got ${quote(issue.input)}`;

/** What JSON cannot hold. */
const object = <T>(expected: string, is: (value: unknown) => boolean) =>
  z.custom<T>(is, { error: (issue) => `${expected}, got ${quote(issue.input)}` });

const range = ({ min, max }: Bounds) =>
  [min === undefined ? '' : ` from ${min}`, max === undefined ? '' : ` to ${max}`].join('');

export function integer({ min, max, multipleOf = 1 }: Bounds): z.ZodType<number> {
  const least = min === undefined ? undefined : Math.ceil(min / multipleOf) * multipleOf;
  const multiple = multipleOf === 1 ? '' : ` that is a multiple of ${multipleOf}`;
  const error = expecting(`expected an integer${range({ min: least, max })}${multiple}`);
  let type = z.int({ error });
  if (least !== undefined) type = type.min(least, { error });
  if (max !== undefined) type = type.max(max, { error });
  return multipleOf === 1 ? type : type.multipleOf(multipleOf, { error });
}

/** Finite. */
export function number({ min, max }: Bounds): z.ZodType<number> {
  const error = expecting(`expected a number${range({ min, max })}`);
  let type = z.number({ error });
  if (min !== undefined) type = type.min(min, { error });
  return max === undefined ? type : type.max(max, { error });
}

export const flag = (): z.ZodType<boolean> => z.boolean({ error: expecting('expected true or false') });

/** A flag, or the number that it stands for. */
export const flagOrNumber = (bounds: Bounds): z.ZodType<boolean | number> =>
  z.union([flag(), number(bounds)], { error: expecting(`expected true, false or a number${range(bounds)}`) });

export const choice = <const T extends string>(values: readonly T[]): z.ZodType<T> =>
  z.enum(values, { error: expecting(`expected ${values.map((value) => `'${value}'`).join(' or ')}`) });

/** What a tokenizer takes. */
export const text = () =>
  z
    .string({ error: expecting('expected a string') })
    .max(longestText, {
      error: ({ input }) => `a text of ${lengthOf(input)} characters is too long, at most ${longestText} are taken`,
    })
    .superRefine((value, { addIssue }) => {
      const message = halfCharacter(value);
      if (message !== undefined) addIssue({ code: 'custom', message, params: ofValue });
    });

const lengthOf = (input: unknown) => (input as { length: number }).length;

/** As many as `numImages` may be. */
const mostTexts = 1024;

/** One or several. */
function oneOrMore<T>(item: z.ZodType<T>, { expected, most }: { expected: string; most?: number }): z.ZodType<T | T[]> {
  let several = z.array(item).min(1, { error: 'is an empty list' });
  if (most !== undefined)
    several = several.max(most, {
      error: ({ input }) => `${lengthOf(input)} of them, at most ${most} are taken at once`,
    });
  return z.union([item, several], { error: expecting(expected) });
}

export const texts = (): z.ZodType<string | string[]> =>
  oneOrMore(text(), { expected: 'expected a string or a list of strings', most: mostTexts });

/** Numbers of classes, or the names that a checkpoint has for them. */
export function labels({ min, max, names }: Bounds): z.ZodType<(number | string) | (number | string)[]> {
  const error = expecting(`expected a number${range({ min, max })}, a name, or a list`);
  const name = names
    ? z
        .string()
        .meta({ enum: names })
        .superRefine((value, { addIssue }) => {
          const message = `the checkpoint lists no class ${quote(value)}; use a number${range({ min, max })}, or a name: ${suggest(value, names)}`;
          if (!names.includes(value)) addIssue({ code: 'custom', message, params: ofValue });
        })
    : z.string();
  const item = z.union([integer({ min, max }), name], { error });
  return z.union([item, z.array(item).min(1, { error: 'is an empty list' })], { error });
}

const aSeed = 'expected an integer, its digits, or a list of such';

const oneSeed = () =>
  z.union(
    [
      z.int(),
      z.custom<bigint>((value) => typeof value === 'bigint'),
      z.string().regex(/^\s*-?\d+\s*$/, { error: expecting(aSeed) }),
    ],
    {
      error: expecting(aSeed),
    },
  );

export const seeds = () => oneOrMore(oneSeed(), { expected: aSeed });

export const numbers = (): z.ZodType<number[]> => {
  const error = expecting('expected a list of numbers');
  return z.array(z.number({ error }), { error }).min(1, { error }).max(10_000, { error });
};

/** Sources of noise. */
export const generators = () =>
  object<Generator | Generator[]>(
    'expected a Generator, or a list with one for each picture',
    (value) =>
      value instanceof Generator ||
      (Array.isArray(value) && value.length > 0 && value.every((item) => item instanceof Generator)),
  );

/** Two shares, the lower one first. */
export const interval = (): z.ZodType<[number, number]> => {
  const error = expecting('expected two numbers from 0 to 1');
  const share = z.number({ error }).min(0, { error }).max(1, { error });
  return z.tuple([share, share], { error });
};

/** A text with a place for the prompt. */
export const template = (): z.ZodType<PromptTemplate> => {
  const tokens = z.int().min(0).max(10_000).optional();
  return z.strictObject(
    { template: z.string().includes('{}'), cropStart: tokens, crop_start: tokens },
    { error: expecting('expected { template, cropStart }, with {} in the template') },
  );
};

/** Numbers of hidden states. */
export const layers = (): z.ZodType<number[]> => {
  const error = expecting('expected a list of integers');
  return z
    .array(z.int({ error }).min(-1000, { error }).max(1000, { error }), { error })
    .min(1, { error })
    .max(100, { error });
};

/** Two whole numbers. */
export const pair = (): z.ZodType<[number, number]> => {
  const error = expecting('expected two integers');
  const item = z.int({ error }).min(0, { error }).max(1e6, { error });
  return z.tuple([item, item], { error });
};

export const tensor = () => object<Tensor>('expected a Tensor', (value) => value instanceof Tensor && value.size > 0);

const isTensorList = (value: unknown) =>
  Array.isArray(value) && value.length > 0 && value.every((item) => item instanceof Tensor && item.size > 0);

/** As a tensor, or as a list with one for each prompt. */
export const embeddings = () =>
  object<Tensor | Tensor[]>('expected a Tensor', (value) => value instanceof Tensor || isTensorList(value));

/** Bytes, as a number or with a unit. */
export const memory = (): z.ZodType<number | string> => {
  const error = expecting("expected bytes, or a text such as '512MiB' or '4GiB'");
  const most = Number.MAX_SAFE_INTEGER;
  return z.union(
    [z.number().min(1).max(most), z.string().regex(/^\s*(?=[\d.]*[1-9])\d+(\.\d+)?\s*([kKmMgG][iI]?)?[bB]?\s*$/)],
    {
      error,
    },
  );
};

const anImage = 'expected an Image, a path, a file: URL or the bytes of a file';

const image = () =>
  z.union(
    [
      z.string(),
      z.custom<Exclude<ImageSource, string>>(
        (value) =>
          value instanceof Image || value instanceof URL || value instanceof Uint8Array || value instanceof Blob,
      ),
    ],
    { error: expecting(anImage) },
  );

/** Pictures, or where they are. */
export const images = () => oneOrMore(image(), { expected: anImage });

/** Pictures, or lists of them where there is one for each of several nets. */
export const imageLists = (): z.ZodType<ImageSource | (ImageSource | ImageSource[])[]> =>
  oneOrMore<ImageSource | ImageSource[]>(images(), { expected: anImage }) as z.ZodType<
    ImageSource | (ImageSource | ImageSource[])[]
  >;

/** One number, or one for each of several nets. */
export const numberOrList = (bounds: Bounds): z.ZodType<number | number[]> =>
  oneOrMore(number(bounds), { expected: `expected a number${range(bounds)}, or a list of such` });

/** The same with integers, or null for nets that need none. */
export const integerOrList = (bounds: Bounds): z.ZodType<number | (number | null)[]> => {
  const error = expecting(`expected an integer${range(bounds)}, or a list of such`);
  const several = z.array(integer(bounds).nullable(), { error }).min(1, { error: 'is an empty list' });
  return z.union([integer(bounds), several], { error });
};

export const aFunction = <F>() => object<F>('expected a function', (value) => typeof value === 'function');

export const signal = () => object<AbortSignal>('expected an AbortSignal', (value) => value instanceof AbortSignal);
