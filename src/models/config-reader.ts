/**
 * Reads a model's `config.json` field by field: types checked, defaults as in the Python class, and values that would change
 * the architecture in a way we have not built refused by name instead of ignored.
 */
import { DejaDitError } from '../errors/errors.ts';
import { quote } from '../errors/printable.ts';

/** Bounds of an integer, both included. */
export interface Range {
  /** Default 1. */
  min?: number;
  /** Default 2²⁰: no vocabulary and no layer is as wide. */
  max?: number;
}

const maxSize = 2 ** 20;
const maxCount = 4096;
export const layerRange: Range = { min: 0, max: maxCount };

export class ConfigReader {
  private readonly unsupported: string[] = [];

  constructor(
    readonly json: Readonly<Record<string, unknown>>,
    /** File, for error messages. */
    readonly origin: string,
  ) {}

  /** A size: an integer in a range, by default from 1 to what no model comes near. */
  integer(name: string, fallback?: number, range: Range = {}): number {
    return this.field(name, fallback, `an integer ${described(range)}`, (value): value is number =>
      isInteger(value, range),
    );
  }

  /** Channels of a model's output: null stands for its input's. */
  outChannels(inChannels: number, fallback = inChannels, name = 'out_channels'): number {
    return this.json[name] === null ? inChannels : this.integer(name, fallback);
  }

  /** A number of blocks, which may be none. */
  layers(name: string, fallback?: number): number {
    return this.integer(name, fallback, layerRange);
  }

  /** A number of layers or heads, a head's width, a patch's edge: what the sizes of lists and tables on the host are made of. */
  count(name: string, fallback?: number): number {
    return this.integer(name, fallback, { max: maxCount });
  }

  counts(name: string, fallback?: readonly number[]): readonly number[] {
    return this.integers(name, fallback, { max: maxCount });
  }

  /** Any finite number. */
  number(name: string, fallback?: number): number {
    return this.field(name, fallback, 'a number', (value): value is number => Number.isFinite(value));
  }

  /** A finite number above zero: a factor, the base of rotary frequencies, what is added to a norm's variance. */
  positive(name: string, fallback?: number): number {
    return this.field(name, fallback, 'a number above 0', isPositive);
  }

  boolean(name: string, fallback?: boolean): boolean {
    return this.field(name, fallback, 'true or false', (value): value is boolean => typeof value === 'boolean');
  }

  string(name: string, fallback?: string): string {
    return this.field(name, fallback, 'a string', (value): value is string => typeof value === 'string');
  }

  integers(name: string, fallback?: readonly number[], range: Range = {}): readonly number[] {
    const expected = `a list of integers ${described(range)}`;
    return this.field(name, fallback, expected, (value): value is number[] =>
      isList(value, (n) => isInteger(n, range)),
    );
  }

  numbers(name: string, fallback?: readonly number[]): readonly number[] {
    return this.field(name, fallback, 'a list of numbers', (value): value is number[] =>
      isList(value, Number.isFinite),
    );
  }

  positives(name: string, fallback?: readonly number[]): readonly number[] {
    return this.field(name, fallback, 'a list of numbers above 0', (value): value is number[] =>
      isList(value, isPositive),
    );
  }

  strings(name: string, fallback?: readonly string[]): readonly string[] {
    const isString = (entry: unknown) => typeof entry === 'string';
    return this.field(name, fallback, 'a list of strings', (value): value is string[] => isList(value, isString));
  }

  /** One of a few strings. */
  choice<T extends string>(name: string, options: readonly T[], fallback?: T): T {
    return this.field(name, fallback, `one of ${options.join(', ')}`, (value): value is T =>
      options.includes(value as T),
    );
  }

  /** A field that may be null or absent. */
  nullable<T>(name: string, read: (name: string) => T): T | undefined {
    const value = this.json[name];
    return value === undefined || value === null ? undefined : read(name);
  }

  /** States that only `value` (or an absent field) is built; anything else is reported by `rejectUnsupported`. */
  requires(name: string, value: unknown): void {
    const found = this.json[name];
    if (found === undefined || JSON.stringify(found) === JSON.stringify(value)) return;
    this.unsupported.push(`${name} = ${shown(found)} (only ${shown(value)} is)`);
  }

  rejectUnsupported(): void {
    if (this.unsupported.length === 0) return;
    throw new DejaDitError('UNSUPPORTED', `not supported: ${this.unsupported.join('; ')}`, { path: this.origin });
  }

  private field<T>(name: string, fallback: T | undefined, expected: string, is: (value: unknown) => value is T): T {
    const value = this.json[name] ?? fallback;
    if (value !== undefined && is(value)) return value;
    const got = value === undefined ? 'is missing' : `is ${shown(value)}`;
    throw new DejaDitError('INVALID_CONFIG', `'${name}' ${got}, expected ${expected}`, { path: this.origin });
  }
}

function isInteger(value: unknown, { min = 1, max = maxSize }: Range): value is number {
  return Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max;
}

function described({ min = 1, max = maxSize }: Range): string {
  return `from ${min} to ${max}`;
}

function isPositive(value: unknown): value is number {
  return Number.isFinite(value) && Number(value) > 0;
}

function isList(value: unknown, isEntry: (entry: unknown) => boolean): boolean {
  return Array.isArray(value) && value.length <= maxCount && value.every((entry) => isEntry(entry));
}

/** JSON has no word for infinities. */
function shown(value: unknown): string {
  return typeof value === 'number' ? String(value) : quote(value);
}
