/** Every model class this engine can build, by the class name that Diffusers and Transformers write into configs. */
import { DejaDitError, suggest } from '../errors/errors.ts';
import { autoencoderFamilies } from './autoencoders/families.ts';
import type { TransformerFamily } from './definition.ts';
import type { GraphModelFamily } from './graph-model.ts';
import { textEncoderFamilies } from './text-encoders/families.ts';
import { transformerFamilies } from './transformers/families.ts';

const transformers = new Map(byClassName(transformerFamilies));
const graphModels = byClassName([...textEncoderFamilies, ...autoencoderFamilies]);

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
  transformers.set(className, family);
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
 * Class names of all models that load: transformers, text encoders and autoencoders.
 * @example
 * supportedModels().includes('AutoencoderKL'); // true
 */
export function supportedModels(): string[] {
  return [...transformers.keys(), ...graphModels.keys()];
}

export function findTransformer(className: string): TransformerFamily | undefined {
  return transformers.get(className);
}

export function findGraphModel(className: string): GraphModelFamily | undefined {
  return graphModels.get(className);
}

/** The error for a class that nobody has built: what it is, what is supported, what to do instead. */
export function unsupportedModel(className: string, origin: string): DejaDitError {
  if (/^UNet/.test(className)) {
    return new DejaDitError(
      'UNSUPPORTED',
      `'${className}' is a convolutional UNet, not a Diffusion Transformer; its blocks differ in shape, so there is nothing to cache block by block. ` +
        "(Whole steps can be skipped of any model, with cacheType 'EasyCache', but UNets are not built here.) " +
        `Supported transformers: ${supportedTransformers().join(', ')}`,
      { path: origin },
    );
  }
  const hint = suggest(className, supportedModels());
  return new DejaDitError('UNSUPPORTED', `model class '${className}' is not supported; ${hint}`, { path: origin });
}

function byClassName<F extends { className: string }>(families: readonly F[]): ReadonlyMap<string, F> {
  return new Map(families.map((family) => [family.className, family]));
}
