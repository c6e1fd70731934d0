/** Which components of a pipeline go on ranks beside its transformers: those that are named, and all of a kind. */
import { DejaDitError } from '../../errors/errors.ts';
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { GraphModel } from '../../models/graph-model.ts';
import type { ParallelismConfig } from './parallelism-config.ts';

/** A pipeline, as far as it matters here. */
export interface Components {
  readonly className: string;
  /** Names of all of them. */
  readonly components: readonly string[];
  readonly transformers: Readonly<Record<string, unknown>>;
  readonly models: Readonly<Record<string, GraphModel>>;
  readonly autoencoders: Readonly<Record<string, Autoencoder>>;
}

export type ExtraModules = Pick<Components, 'models' | 'autoencoders'>;

/** Component names by what users ask for all of, and the part of cache-dit's tag that says so. */
export const kinds = {
  parallelTextEncoder: { pattern: /^text_encoder/, noun: 'text encoder', tag: 'TEP' },
  parallelVae: { pattern: /^vae$/, noun: 'autoencoder', tag: 'VAEP' },
  parallelControlnet: { pattern: /^controlnet/, noun: 'ControlNet', tag: 'CNP' },
} as const;
export type ExtraKind = keyof typeof kinds;

/**
 * @param pipe undefined for a bare transformer
 * @throws DejaDitError INVALID_CONFIG naming what there is not, UNSUPPORTED naming what cannot be on ranks
 */
export function extraModules(
  {
    extraParallelModules: names,
    extraKinds,
    path,
  }: Pick<ParallelismConfig, 'extraParallelModules' | 'extraKinds' | 'path'>,
  pipe: Components | undefined,
): ExtraModules {
  const chosen: { models: Record<string, GraphModel>; autoencoders: Record<string, Autoencoder> } = {
    models: {},
    autoencoders: {},
  };
  const [first] = [...names.map(() => 'extraParallelModules'), ...extraKinds];
  if (first === undefined) return chosen;
  const invalid = (field: string, reason: string) =>
    new DejaDitError('INVALID_CONFIG', reason, { path: `${path}.${field}` });
  if (!pipe) throw invalid(first, 'a bare transformer has no other components: give the pipeline, or leave it out');
  const { className, components, transformers, models, autoencoders } = pipe;
  const movable = [...Object.keys(models), ...Object.keys(autoencoders)];
  const found = extraKinds.flatMap((kind) => {
    const { pattern, noun } = kinds[kind];
    const ofKind = movable.filter((name) => pattern.test(name));
    if (ofKind.length === 0) throw invalid(kind, `a ${className} has no ${noun}; leave it out`);
    return ofKind;
  });
  for (const name of new Set([...names, ...found])) {
    if (models[name]) chosen.models[name] = models[name];
    else if (autoencoders[name]) chosen.autoencoders[name] = autoencoders[name];
    else if (transformers[name])
      throw invalid('extraParallelModules', `'${name}' is on ranks in any case; leave it out`);
    else if (components.includes(name))
      throw new DejaDitError(
        'UNSUPPORTED',
        `every process has all of '${name}'; of a ${className} ${movable.join(', ')} can be on ranks`,
        {
          path: `${path}.extraParallelModules`,
        },
      );
    else
      throw invalid(
        'extraParallelModules',
        `a ${className} has no '${name}'; it can have ${movable.join(', ')} on ranks`,
      );
  }
  return chosen;
}
