/** Config fields that hold one value per level of a pyramid. */
import { DejaDitError } from '../../errors/errors.ts';
import { quote } from '../../errors/printable.ts';
import type { ConfigReader } from '../config-reader.ts';

/** @throws DejaDitError INVALID_CONFIG naming the list that has not one entry per level */
export function checkLevels(config: ConfigReader, levels: number, lists: Record<string, readonly unknown[]>): void {
  for (const [name, list] of Object.entries(lists)) {
    if (list.length === levels) continue;
    throw new DejaDitError(
      'INVALID_CONFIG',
      `'${name}' has ${list.length} entries, expected ${levels}, one per level`,
      { path: config.origin },
    );
  }
}

/** A field that is one string for all levels, or a list of one per level. */
export function choicePerLevel<T extends string>(
  config: ConfigReader,
  name: string,
  { levels, options, fallback }: { levels: number; options: readonly T[]; fallback: T },
): T[] {
  const value = config.json[name];
  const list = Array.isArray(value) ? value : Array<unknown>(levels).fill(value ?? fallback);
  checkLevels(config, levels, { [name]: list });
  return list.map((entry) => {
    if (options.includes(entry as T)) return entry as T;
    throw new DejaDitError('INVALID_CONFIG', `'${name}' has ${quote(entry)}, expected ${options.join(' or ')}`, {
      path: config.origin,
    });
  });
}

/** A field that is a list of flags. */
export function booleans(config: ConfigReader, name: string, fallback: readonly boolean[]): readonly boolean[] {
  const value = config.json[name] ?? fallback;
  if (Array.isArray(value) && value.every((entry) => typeof entry === 'boolean')) return value;
  throw new DejaDitError('INVALID_CONFIG', `'${name}' is ${quote(value)}, expected a list of true or false`, {
    path: config.origin,
  });
}
