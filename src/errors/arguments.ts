/** Checks of a function's options: a name that is unknown and a value of the wrong type are errors of one line, never ignored. */
import { z } from 'zod';
import { DejaDitError, suggest } from './errors.ts';

/** One entry per option of `Options`, so that none can be forgotten. All may be left out. */
export type ArgumentShape<Options> = Readonly<Record<Extract<keyof Options, string>, z.ZodType>>;

/** What else a schema may hold: an object that only its type describes. */
export const anyObject = z.looseObject({});
export const anyFunction = z.custom((value) => typeof value === 'function', 'expected a function');
export const abortSignal = z.custom((value) => value instanceof AbortSignal, 'expected an AbortSignal');

/**
 * @param elsewhere names of other libraries for what is set in another way here, and how
 * @throws DejaDitError INVALID_ARGUMENT naming the option
 */
export function checkArguments(
  { of, shape, elsewhere = {} }: { of: string; shape: z.ZodRawShape; elsewhere?: Readonly<Record<string, string>> },
  options: unknown,
): void {
  const fail = (path: string, message: string) => new DejaDitError('INVALID_ARGUMENT', message, { path });
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw fail(of, `expected an object of options, got ${JSON.stringify(options)}`);
  for (const [name, value] of Object.entries(options)) {
    const known = Object.hasOwn(shape, name) ? (shape[name] as z.ZodType) : undefined;
    if (!known) {
      const hint = Object.hasOwn(elsewhere, name) ? elsewhere[name] : suggest(name, Object.keys(shape));
      throw fail(name, `unknown option of ${of}; ${hint}`);
    }
    if (value === undefined) continue;
    const { error } = known.safeParse(value);
    if (error) throw fail([name, ...error.issues[0]!.path].join('.'), error.issues[0]!.message);
  }
}
