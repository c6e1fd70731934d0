/**
 * Reading option objects field by field: one table per config says which fields exist, how each is spelled and what
 * it may hold. Knows nothing of caching: the tables and the meaning of the fields are in the config files beside it.
 */
import { DejaDitError, suggest } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';

/** Reads one field; `fail(reason)` throws the error that names the field. */
export interface Field<T> {
  read(value: unknown, fail: (reason: string) => never): T;
  /** Other words for the same field (`Fn` for `fnComputeBlocks`). Spelling variants of the name itself need no alias. */
  aliases?: readonly string[];
}

export type Fields<T> = { readonly [K in keyof T]-?: Field<T[K]> };

/** Options as a user writes them: known fields in camelCase, or any accepted spelling of them. */
export type Options<T> = Partial<T> & { readonly [spelling: string]: unknown };

/** `Fn_compute_blocks`, `fnComputeBlocks` and `FnComputeBlocks` are one name. */
const spellingKey = (name: string) => name.toLowerCase().replace(/[_-]/g, '');

/** Throws unless `options` is a plain object; returns it as one. */
export function asObject(options: unknown, path: string): Record<string, unknown> {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new DejaDitError('INVALID_CONFIG', `must be an object of options, got ${show(options)}`, { path });
  }
  return options as Record<string, unknown>;
}

/**
 * Reads the fields that are given; absent, `undefined` and `null` ones are left out, so that defaults can fill them.
 * An unknown key, a field given under two spellings and a value a field cannot take are `INVALID_CONFIG` errors.
 */
export function readFields<T>(args: { fields: Fields<T>; options: unknown; path: string }): Partial<T> {
  const { fields, path } = args;
  const names = new Map<string, keyof T & string>();
  for (const name of Object.keys(fields) as (keyof T & string)[]) {
    for (const spelling of [name, ...(fields[name].aliases ?? [])]) names.set(spellingKey(spelling), name);
  }

  const result: Partial<T> = {};
  for (const [key, value] of Object.entries(asObject(args.options, path))) {
    const name = names.get(spellingKey(key));
    if (name === undefined) throw unknownKey({ key, known: knownNames(fields), path });
    if (value === undefined || value === null) continue;
    const where = `${path}.${name}`;
    if (name in result)
      throw new DejaDitError('INVALID_CONFIG', `given twice, the second time as ${key}`, { path: where });
    result[name] = fields[name].read(value, (reason) => {
      throw new DejaDitError('INVALID_CONFIG', `${reason}, got ${show(value)}`, { path: where });
    });
  }
  return result;
}

/** Every spelling a table lists: names and aliases. */
export const knownNames = <T>(fields: Fields<T>): string[] =>
  (Object.entries(fields) as [string, Field<unknown>][]).flatMap(([name, field]) => [name, ...(field.aliases ?? [])]);

/** Whether `key` is a spelling of one of the names. */
export const isOneOf = (key: string, names: readonly string[]): boolean =>
  // A key from a file may have megabytes.
  key.length < 100 && names.some((name) => spellingKey(name) === spellingKey(key));

/** The error for a key that no field answers to; it names the nearest known one, and lists them all. */
export function unknownKey(args: { key: string; known: readonly string[]; path: string }): DejaDitError {
  const hint = suggest(args.key, args.known);
  return new DejaDitError('INVALID_CONFIG', `unknown key ${quote(args.key)}; ${hint}`, { path: args.path });
}

/** A value as an error message shows it. */
export function show(value: unknown): string {
  const text = quote(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

interface Range {
  min?: number;
  max?: number;
  aliases?: readonly string[];
}

const within = (value: number, { min = -Infinity, max = Infinity }: Range) => value >= min && value <= max;

const describe = ({ min, max }: Range) => {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`;
  return min === undefined ? '' : ` of at least ${min}`;
};

export const integer = (range: Range = {}): Field<number> => ({
  aliases: range.aliases,
  read: (value, fail) =>
    Number.isSafeInteger(value) && within(value as number, range)
      ? (value as number)
      : fail(`must be an integer${describe(range)}`),
});

export const real = (range: Range = {}): Field<number> => ({
  aliases: range.aliases,
  read: (value, fail) =>
    typeof value === 'number' && Number.isFinite(value) && within(value, range)
      ? value
      : fail(`must be a number${describe(range)}`),
});

export const flag = (aliases?: readonly string[]): Field<boolean> => ({
  aliases,
  read: (value, fail) => (typeof value === 'boolean' ? value : fail('must be true or false')),
});

export const oneOf = <const T extends string>(values: readonly T[], aliases?: readonly string[]): Field<T> => ({
  aliases,
  read: (value, fail) =>
    values.find((known) => known === value) ?? fail(`must be one of ${values.map((known) => `"${known}"`).join(', ')}`),
});
