/** Reading option objects against a schema: camelCase or Python's spelling, null for the default, the nearest name for a wrong key. */
import { z } from 'zod';
import { DejaDitError, suggest } from './errors.ts';
import { quote } from './printable.ts';

/**
 * The options that are given, under the schema's own names.
 * @throws DejaDitError INVALID_CONFIG for a key that is unknown or given twice
 */
export function namedOptions(shape: z.ZodRawShape, options: unknown, path: string): Record<string, unknown> {
  const fail = (message: string, at = path) => new DejaDitError('INVALID_CONFIG', message, { path: at });
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw fail(`must be an object of options, got ${quote(options)}`);
  const spelling = (name: string) => name.toLowerCase().replace(/[_-]/g, '');
  const fields = new Map(Object.keys(shape).map((name) => [spelling(name), name]));
  const given: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(options)) {
    const field = fields.get(spelling(key));
    if (field === undefined) {
      throw fail(`unknown key '${key}'; ${suggest(key, fields.values())}`);
    }
    if (value === undefined || value === null) continue;
    if (field in given) throw fail('is given twice', `${path}.${field}`);
    given[field] = value;
  }
  return given;
}

/**
 * The options with defaults filled in.
 * @throws DejaDitError INVALID_CONFIG naming the field
 */
export function readOptions<Shape extends z.ZodRawShape>(
  shape: Shape,
  options: unknown,
  path: string,
): z.infer<z.ZodObject<Shape>> {
  const result = z.object(shape).safeParse(namedOptions(shape, options, path));
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw new DejaDitError('INVALID_CONFIG', issue.message, { path: [path, ...issue.path].join('.') });
}
