/**
 * Every model class this engine can build, by the class name that Diffusers and Transformers write into configs. The file of a
 * family is loaded when it is first asked for: whoever runs one model does not wait for the code of all others.
 */
import { DejaDitError, suggest } from '../errors/errors.ts';
import { autoencoderFamilies } from './autoencoders/families.ts';
import { controlNetFamilies } from './controlnets/families.ts';
import type { TransformerFamily } from './definition.ts';
import type { GraphModelFamily } from './graph-model.ts';
import { textEncoderFamilies } from './text-encoders/families.ts';
import { transformerFamilies } from './transformers/families.ts';

const transformers = new Map<string, () => Promise<TransformerFamily>>(Object.entries(transformerFamilies));
const graphModels = new Map<string, () => Promise<GraphModelFamily>>([
  ...Object.entries(textEncoderFamilies),
  ...Object.entries(autoencoderFamilies),
  ...Object.entries(controlNetFamilies),
]);

/**
 * Adds a transformer of your own, so that checkpoints whose `config.json` names its class load like any other. The example of
 * `defineTransformer` ends with it.
 * @throws DejaDitError INVALID_ARGUMENT if the class name is taken
 */
export function registerTransformer(family: TransformerFamily): void {
  const { className } = family;
  if (transformers.has(className) || graphModels.has(className)) {
    throw new DejaDitError('INVALID_ARGUMENT', 'a model class of this name is registered already', { path: className });
  }
  transformers.set(className, () => Promise.resolve(family));
}

/**
 * Class names of the transformers that load, your own included.
 * @example
 * supportedTransformers().includes('FluxTransformer2DModel'); // true
 */
export function supportedTransformers(): string[] {
  return [...transformers.keys()];
}

/**
 * Class names of all models that load: transformers, text encoders, autoencoders and ControlNets.
 * @example
 * supportedModels().includes('AutoencoderKL'); // true
 */
export function supportedModels(): string[] {
  return [...transformers.keys(), ...graphModels.keys()];
}

export function isTransformer(className: string): boolean {
  return transformers.has(className);
}

/** The family of a transformer class; undefined if there is none of that name. */
export async function findTransformer(className: string): Promise<TransformerFamily | undefined> {
  return transformers.get(className)?.();
}

/** The family of a text encoder, autoencoder or ControlNet class; undefined if there is none of that name. */
export async function findGraphModel(className: string): Promise<GraphModelFamily | undefined> {
  return graphModels.get(className)?.();
}

/** The error for a class that nobody has built: what it is, what is supported, what to do instead. */
export function unsupportedModel(className: string, origin: string): DejaDitError {
  const hint = suggest(className, supportedModels());
  return new DejaDitError('UNSUPPORTED', `model class '${className}' is not supported; ${hint}`, { path: origin });
}
