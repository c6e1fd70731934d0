/** Reading `scheduler_config.json`: names, defaults and what is allowed. The schemas stand with the schedulers. */
import * as z from 'zod';
import { DejaDitError, nearestName, suggest } from '../errors/errors.ts';
import { quote } from '../errors/printable.ts';

/** At most one of these replaces the spacing of the noise levels. */
export const sigmaSpacingFields = {
  use_karras_sigmas: z.boolean().default(false),
  use_exponential_sigmas: z.boolean().default(false),
  use_beta_sigmas: z.boolean().default(false),
};

export const trainTimesteps = z.int().positive().max(1_000_000).default(1000);

/** Fields that other schedulers of Diffusers have and that resemble fields of ours. */
const lookalikes = new Set([
  'max_shift',
  's_min',
  'sigma_data',
  'sigma_max',
  'solver_p',
  'threshold',
  'timestep_scaling',
]);

/**
 * A configuration with defaults filled in. Names may be in camel case; null stands for the default, as None does in
 * Diffusers. Fields of other schedulers are ignored, since configurations are commonly handed from class to class;
 * a field that looks like a misspelling of a known one is an error.
 * @throws DejaDitError `INVALID_CONFIG`, naming the field
 */
export function parseConfig<Fields extends z.ZodRawShape>(
  className: string,
  fields: Fields,
  raw: Readonly<Record<string, unknown>>,
): z.infer<z.ZodObject<Fields>> {
  const given: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(raw)) {
    if (name.startsWith('_') || value === null || value === undefined) continue;
    const field = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    const similar = field in fields || lookalikes.has(field) ? undefined : nearestName(field, Object.keys(fields));
    if (similar !== undefined) {
      throw new DejaDitError('INVALID_CONFIG', `unknown field; ${suggest(field, Object.keys(fields))}`, {
        path: `${className}.${name}`,
      });
    }
    given[field] = value;
  }
  const result = z.object(fields).safeParse(given);
  if (!result.success) {
    const issue = result.error.issues[0]!;
    const path = [className, ...issue.path].join('.');
    const value = issue.path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown>)?.[key], given);
    throw new DejaDitError('INVALID_CONFIG', `${issue.message}, got ${quote(value)}`, { path });
  }
  const spacings = sigmaSpacings(given).map((name) => `use_${name}_sigmas`);
  if (spacings.length > 1) {
    throw new DejaDitError('INVALID_CONFIG', `${spacings.join(' and ')} exclude each other`, { path: className });
  }
  return result.data;
}

export type SigmaSpacing = 'karras' | 'exponential' | 'beta';

/** The spacings that are switched on; `parseConfig` allows at most one. */
function sigmaSpacings(config: Readonly<Record<string, unknown>>): SigmaSpacing[] {
  return (['karras', 'exponential', 'beta'] as const).filter((name) => config[`use_${name}_sigmas`] === true);
}

/** The spacing that replaces the scheduler's own, if any. */
export function sigmaSpacing(config: Readonly<Record<string, unknown>>): SigmaSpacing | undefined {
  return sigmaSpacings(config)[0];
}
