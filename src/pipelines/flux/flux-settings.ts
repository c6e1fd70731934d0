/** The options of `FluxPipeline.generate`, their defaults and their checks. */
import { warn } from '../../errors/warnings.ts';
import type { Image } from '../../images/image.ts';
import {
  checkInteger,
  checkNumber,
  checkOptionNames,
  checkPrompts,
  commonOptionNames,
  type GenerateOptions,
  matchPrompts,
} from '../options.ts';
import type { GenerationDefaults } from '../pipeline.ts';

const optionNames = [
  ...commonOptionNames,
  'negativePrompt',
  'trueCfgScale',
  'guidanceScale',
  'maxSequenceLength',
  'image',
  'strength',
] as const satisfies readonly (keyof GenerateOptions)[];

/** What a loaded model determines. */
export interface FluxTraits {
  guidanceEmbedding: boolean;
  /** Edge of the images that the model was trained on. */
  sampleSize: number;
  /** Pixels per latent along an edge. */
  spatialScale: number;
  maxTextTokens: number;
}

/** Options with every default filled in. */
export interface FluxSettings {
  prompts: readonly string[];
  /** Absent where guidance is off. */
  negativePrompts: readonly string[] | undefined;
  trueCfgScale: number;
  guidanceScale: number | undefined;
  maxSequenceLength: number;
  steps: number;
  numImages: number;
  height: number;
  width: number;
  latentHeight: number;
  latentWidth: number;
  strength: number;
  image: Image | undefined;
}

/** @throws DejaDitError naming the option that cannot be used; warns about options that have no effect */
export function fluxSettings(options: GenerateOptions, defaults: GenerationDefaults, traits: FluxTraits): FluxSettings {
  checkOptionNames(options, optionNames, 'FluxPipeline');
  const given: GenerateOptions = { ...defaults };
  Object.assign(given, Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)));

  const { guidanceEmbedding, sampleSize, spatialScale, maxTextTokens } = traits;
  const prompts = checkPrompts(given.prompt);
  const trueCfgScale = checkNumber('trueCfgScale', given.trueCfgScale ?? 1, { min: 0, max: 100 });
  warnAboutIdleOptions(options, { given, trueCfgScale, guidanceEmbedding });
  // A token covers 2×2 latents.
  const edge = (name: 'height' | 'width') =>
    checkInteger(name, given[name] ?? sampleSize, { min: 2 * spatialScale, max: 16384, multipleOf: 2 * spatialScale });
  const [height, width] = [edge('height'), edge('width')];
  return {
    prompts,
    negativePrompts:
      trueCfgScale > 1 && given.negativePrompt !== undefined
        ? matchPrompts(given.negativePrompt, prompts.length, 'negativePrompt')
        : undefined,
    trueCfgScale,
    guidanceScale: guidanceEmbedding
      ? checkNumber('guidanceScale', given.guidanceScale ?? 3.5, { min: 0, max: 1000 })
      : undefined,
    maxSequenceLength: checkInteger('maxSequenceLength', given.maxSequenceLength ?? Math.min(512, maxTextTokens), {
      min: 1,
      max: 512,
    }),
    steps: checkInteger('numInferenceSteps', given.numInferenceSteps ?? given.sigmas?.length ?? 28, {
      min: 1,
      max: 10000,
    }),
    numImages: checkInteger('numImages', given.numImages ?? 1, { min: 1, max: 1024 }),
    height,
    width,
    latentHeight: height / spatialScale,
    latentWidth: width / spatialScale,
    strength: checkNumber('strength', given.strength ?? 0.6, { min: 0, max: 1 }),
    image: given.image,
  };
}

interface Idle {
  given: GenerateOptions;
  trueCfgScale: number;
  guidanceEmbedding: boolean;
}

/** An option that cannot take effect is never dropped in silence. */
function warnAboutIdleOptions(options: GenerateOptions, { given, trueCfgScale, guidanceEmbedding }: Idle): void {
  if (options.guidanceScale !== undefined && !guidanceEmbedding) {
    warn('guidanceScale has no effect: this model has no guidance embedding; use trueCfgScale and negativePrompt');
  }
  if (options.trueCfgScale !== undefined && trueCfgScale > 1 && given.negativePrompt === undefined) {
    warn("trueCfgScale has no effect without a negativePrompt; pass negativePrompt: '' for none in particular");
  }
  if (options.negativePrompt !== undefined && trueCfgScale <= 1) {
    warn(`negativePrompt has no effect at trueCfgScale ${trueCfgScale}; set it above 1`);
  }
  if (options.strength !== undefined && !given.image) warn('strength has no effect without an image');
  if (options.latents !== undefined && given.image)
    warn('latents have no effect with an image, whose noised latents are the start');
}
