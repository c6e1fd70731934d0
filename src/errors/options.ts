/**
 * Reading option objects against a table of fields, each of them a schema: camelCase or Python's spelling, further words for a
 * field, null for the default, the nearest name for a wrong key, and one wording of what is wrong with a value. What the fields
 * mean is up to whoever has the table.
 */
import * as z from 'zod';
import { DejaDitError, suggest } from './errors.ts';
import { quote } from './printable.ts';

/** A schema for each field of T. */
export type Fields<T> = { readonly [K in keyof T]-?: z.ZodType<T[K]> };

/** Options as a user writes them: fields in camelCase, or in any accepted spelling. */
export type Options<T> = Partial<T> & { readonly [spelling: string]: unknown };

const aliases = z.registry<{ words: readonly string[] }>();

/** Makes a field known by other words too (`Fn` for `fnComputeBlocks`). Spellings of its name need none. */
export const alsoCalled = <Schema extends z.ZodType>(schema: Schema, ...words: string[]): Schema => {
  aliases.add(schema, { words });
  return schema;
};

interface Range {
  min?: number;
  max?: number;
}

const within = ({ min, max }: Range) => {
  if (max !== undefined) return ` from ${min ?? '-∞'} to ${max}`;
  return min === undefined ? '' : ` of at least ${min}`;
};

/** A whole number within bounds, which the error names together. */
export const integer = (range: Range = {}) => bounded(z.int, range, 'an integer');
export const real = (range: Range = {}) => bounded(z.number, range, 'a number');

function bounded(type: typeof z.int | typeof z.number, range: Range, kind: string): z.ZodNumber {
  const error = `must be ${kind}${within(range)}`;
  return type({ error })
    .min(range.min ?? -Infinity, { error })
    .max(range.max ?? Infinity, { error });
}

/** `Fn_compute_blocks`, `fnComputeBlocks` and `FnComputeBlocks` are one name. */
const spelling = (name: string) => name.toLowerCase().replace(/[_-]/g, '');

/** Whether `key` is a spelling of one of the names. */
export const isSpellingOf = (key: string, names: readonly string[]): boolean =>
  // A key from a file may have megabytes.
  key.length < 100 && names.some((name) => spelling(name) === spelling(key));

/** Names of a table's fields, and the other words for them. */
export const knownNames = (shape: z.ZodRawShape): string[] =>
  Object.entries(shape).flatMap(([name, schema]) => [name, ...wordsFor(schema)]);

const wordsFor = (schema: z.core.$ZodType) => aliases.get(schema)?.words ?? [];

/** A function whose arguments the options are: messages begin with the argument, not with a path, and the code is INVALID_ARGUMENT. */
export interface Callee {
  /** Its name. */
  of: string;
  /** Names of other libraries for what is said in another way here, and how. */
  elsewhere?: Readonly<Record<string, string>> | undefined;
}

/** Throws unless `options` is a plain object; returns it as one. */
export function asObject(options: unknown, path: string | Callee): Record<string, unknown> {
  if (typeof options === 'object' && options !== null && !Array.isArray(options))
    return options as Record<string, unknown>;
  const message = `must be an object of options, got ${quote(options)}`;
  throw typeof path === 'string'
    ? new DejaDitError('INVALID_CONFIG', message, { path })
    : new DejaDitError('INVALID_ARGUMENT', message, { path: path.of });
}

/** The error for a key that no field answers to; it names the nearest known one, and all of them. */
export function unknownKey(
  key: string,
  { known, path }: { known: readonly string[]; path: string | Callee },
): DejaDitError {
  if (typeof path === 'string')
    return new DejaDitError('INVALID_CONFIG', `unknown key ${quote(key)}; ${suggest(key, known)}`, { path });
  const { of, elsewhere = {} } = path;
  const said = Object.entries(elsewhere).find(([word]) => isSpellingOf(key, [word]))?.[1];
  return new DejaDitError('INVALID_ARGUMENT', `unknown option of ${of}; ${said ?? suggest(key, known)}`, { path: key });
}

/**
 * The options under the table's names, whatever they hold.
 * @throws DejaDitError INVALID_CONFIG (of a function INVALID_ARGUMENT) for a key that is unknown or given twice
 */
export function underOurNames(shape: z.ZodRawShape, options: unknown, path: string | Callee): Record<string, unknown> {
  const names = new Map<string, string>();
  for (const [name, schema] of Object.entries(shape))
    for (const word of [name, ...wordsFor(schema)]) names.set(spelling(word), name);
  const result: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(asObject(options, path))) {
    const name = names.get(spelling(key));
    if (name === undefined) {
      // Whoever passes options on names those that are not given too.
      if (typeof path !== 'string' && value === undefined) continue;
      throw unknownKey(key, { known: knownNames(shape), path });
    }
    if (result[name] !== undefined && result[name] !== null) {
      if (value === undefined || value === null) continue;
      const message = `is given twice, the second time as ${key}`;
      if (typeof path !== 'string') throw new DejaDitError('INVALID_ARGUMENT', message, { path: name });
      throw new DejaDitError('INVALID_CONFIG', message, { path: `${path}.${name}` });
    }
    result[name] = value;
  }
  return result;
}

/**
 * The same without those that are left to their defaults: undefined or null.
 * @throws DejaDitError INVALID_CONFIG for a key that is unknown or given twice
 */
export const namedOptions = (shape: z.ZodRawShape, options: unknown, path: string | Callee): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(underOurNames(shape, options, path)).filter(([, value]) => value !== undefined && value !== null),
  );

/**
 * The options that are given, each checked.
 * @throws DejaDitError INVALID_CONFIG naming the field
 */
export function givenOptions<T>(fields: Fields<T>, options: unknown, path: string): Partial<T> {
  const shape: z.ZodRawShape = fields;
  const entries = Object.entries(namedOptions(shape, options, path)).map(([name, value]) => [
    name,
    read(shape[name] as z.ZodType, value, `${path}.${name}`),
  ]);
  return Object.fromEntries(entries);
}

/**
 * All options, with defaults filled in.
 * @throws DejaDitError INVALID_CONFIG naming the field
 */
export function readOptions<Shape extends z.ZodRawShape>(
  shape: Shape,
  options: unknown,
  path: string,
): z.infer<z.ZodObject<Shape>> {
  return read(z.object(shape), namedOptions(shape, options, path), path);
}

function read<Schema extends z.ZodType>(schema: Schema, value: unknown, path: string): z.infer<Schema> {
  const result = schema.safeParse(value, { error: wording });
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  const at = issue.path.reduce<unknown>((part, key) => (part as Record<PropertyKey, unknown>)[key], value);
  const got = at === undefined ? '' : `, got ${quote(at)}`;
  throw new DejaDitError('INVALID_CONFIG', issue.message + got, { path: issue.path.reduce<string>(memberPath, path) });
}

const memberPath = (path: string, key: PropertyKey) =>
  typeof key === 'number' ? `${path}[${key}]` : `${path}.${String(key)}`;

const kinds: Readonly<Record<string, string>> = {
  int: 'an integer',
  number: 'a number',
  boolean: 'true or false',
  string: 'a text',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

/** What a value must be; undefined where the schema says it itself. */
function wording(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? 'is required' : `must be ${kinds[issue.expected] ?? issue.expected}`;
    case 'too_small':
      if (issue.origin === 'array' || issue.origin === 'string') return 'must not be empty';
      return `must be ${issue.inclusive === false ? 'above' : 'at least'} ${issue.minimum}`;
    case 'too_big':
      return `must be ${issue.inclusive === false ? 'below' : 'at most'} ${issue.maximum}`;
    case 'invalid_value':
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(quote).join(', ')}`;
    default:
      return undefined;
  }
}
