/**
 * Reads a model's `config.json` field by field: types checked, defaults as in the Python class, and values that would change
 * the architecture in a way we have not built refused by name instead of ignored.
 */
import { DejaDitError } from '../errors/errors.ts';

export class ConfigReader {
  private readonly unsupported: string[] = [];

  constructor(
    readonly json: Readonly<Record<string, unknown>>,
    /** File, for error messages. */
    readonly origin: string,
  ) {}

  integer(name: string, fallback?: number): number {
    return this.field(name, fallback, 'an integer', (value): value is number => Number.isSafeInteger(value));
  }

  number(name: string, fallback?: number): number {
    return this.field(
      name,
      fallback,
      'a number',
      (value): value is number => typeof value === 'number' && Number.isFinite(value),
    );
  }

  boolean(name: string, fallback?: boolean): boolean {
    return this.field(name, fallback, 'true or false', (value): value is boolean => typeof value === 'boolean');
  }

  string(name: string, fallback?: string): string {
    return this.field(name, fallback, 'a string', (value): value is string => typeof value === 'string');
  }

  integers(name: string, fallback?: readonly number[]): readonly number[] {
    return this.field(
      name,
      fallback,
      'a list of integers',
      (value): value is number[] => Array.isArray(value) && value.every(Number.isSafeInteger),
    );
  }

  numbers(name: string, fallback?: readonly number[]): readonly number[] {
    return this.field(
      name,
      fallback,
      'a list of numbers',
      (value): value is number[] => Array.isArray(value) && value.every(Number.isFinite),
    );
  }

  strings(name: string, fallback?: readonly string[]): readonly string[] {
    const isStrings = (value: unknown): value is string[] =>
      Array.isArray(value) && value.every((entry) => typeof entry === 'string');
    return this.field(name, fallback, 'a list of strings', isStrings);
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
    this.unsupported.push(`${name} = ${JSON.stringify(found)} (only ${JSON.stringify(value)} is)`);
  }

  rejectUnsupported(): void {
    if (this.unsupported.length === 0) return;
    throw new DejaDitError('UNSUPPORTED', `not supported: ${this.unsupported.join('; ')}`, { path: this.origin });
  }

  private field<T>(name: string, fallback: T | undefined, expected: string, is: (value: unknown) => value is T): T {
    const value = this.json[name] ?? fallback;
    if (value !== undefined && is(value)) return value;
    const got = value === undefined ? 'is missing' : `is ${JSON.stringify(value)}`;
    throw new DejaDitError('INVALID_CONFIG', `'${name}' ${got}, expected ${expected}`, { path: this.origin });
  }
}
