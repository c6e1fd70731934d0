/**
 * The arguments of functions: options whose values are checked and handed on as they are, for they may be objects with a class. Names are
 * read as those of configs are.
 */
import * as z from 'zod';
import { DejaDitError } from './errors.ts';
import { type Callee, namedOptions } from './options.ts';

/** One entry per option of `Options`, so that none can be forgotten. All may be left out. */
export type ArgumentShape<Options> = Readonly<Record<Extract<keyof Options, string>, z.ZodType>>;

/** What else a schema may hold: an object that only its type describes. */
export const anyObject = z.looseObject({});
export const anyFunction = z.custom((value) => typeof value === 'function', 'expected a function');
export const abortSignal = z.custom((value) => value instanceof AbortSignal, 'expected an AbortSignal');

/**
 * The arguments that are given.
 * @throws DejaDitError INVALID_ARGUMENT naming the argument
 */
export function readArguments<Options extends object>(
  shape: ArgumentShape<Options>,
  options: Options,
  callee: Callee,
): Options {
  const types: z.ZodRawShape = shape;
  const given = namedOptions(types, options, callee);
  for (const [name, value] of Object.entries(given)) {
    const wrong = whatIsWrong(types[name] as z.ZodType, value, name);
    if (wrong) throw new DejaDitError('INVALID_ARGUMENT', wrong.message, { path: wrong.path });
  }
  return given as Options;
}

/** Why a value is none of a type, and where: `image[1]`, `loras.style`. */
export function whatIsWrong(
  type: z.ZodType,
  value: unknown,
  name: string,
): { path: string; message: string } | undefined {
  const { error } = type.safeParse(value);
  if (!error) return undefined;
  const { path, message } = telling(error.issues[0]!);
  const member = (part: PropertyKey) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`);
  return { path: path.reduce<string>((text, part) => text + member(part), name), message };
}

/** A check inside a value of the right type marks its issue with it; one without is about the type. */
export const ofValue = { ofValue: true };

/** Of the alternatives that a value does not fit, the one that it was meant for: of its type, but with something wrong inside. */
function telling(issue: z.core.$ZodIssue): Pick<z.core.$ZodIssue, 'path' | 'message'> {
  if (issue.code !== 'invalid_union') return issue;
  const [meant, ...others] = issue.errors.flatMap(([branch]) => (branch && isInside(branch) ? [telling(branch)] : []));
  if (!meant || others.length > 0) return issue;
  return { path: [...issue.path, ...meant.path], message: meant.message };
}

function isInside(issue: z.core.$ZodIssue): boolean {
  if (issue.path.length > 0) return true;
  if (issue.code === 'invalid_union') return telling(issue) !== issue;
  if (issue.code === 'custom') return issue.params?.['ofValue'] === true;
  return issue.code !== 'invalid_type' && issue.code !== 'invalid_value';
}
