/** The options of `FluxPipeline.generate`, their defaults and their checks. */
import { type Counts, checkCounts, checkInteger, checkNumber, checkSize, takeOptions, warnIdle } from '../checks.ts';
import { type ConditionNames, type Conditions, conditionOptionNames, readConditions } from '../conditions.ts';
import type { GenerationDefaults } from '../pipeline.ts';
import type { GenerateRequest } from '../request.ts';
import { checkStartImages, type ImageSource } from '../start-images.ts';

const conditionNames: ConditionNames = {
  texts: ['prompt', 'prompt2'],
  embeds: ['promptEmbeds', 'pooledPromptEmbeds'],
};

/** What a loaded model determines. */
export interface FluxTraits {
  guidanceEmbedding: boolean;
  /** Whether the scheduler lays out its own noise levels. */
  flowSigmas: boolean;
  /** Edge of the images that the model was trained on. */
  sampleSize: number;
  /** Pixels per latent along an edge. */
  spatialScale: number;
  maxTextTokens: number;
}

/** Options with every default filled in. */
export interface FluxSettings extends Counts {
  conditions: Conditions;
  trueCfgScale: number;
  guidanceScale: number | undefined;
  maxSequenceLength: number;
  height: number;
  width: number;
  latentHeight: number;
  latentWidth: number;
  strength: number;
  /** Pictures of the request. */
  batch: number;
  images: readonly ImageSource[] | undefined;
}

/** @throws DejaDitError naming the option that cannot be used; warns about options that have no effect */
export function fluxSettings(request: GenerateRequest, defaults: GenerationDefaults, traits: FluxTraits): FluxSettings {
  const { guidanceEmbedding, flowSigmas, sampleSize, spatialScale, maxTextTokens } = traits;
  const { options } = request;
  const given = takeOptions(flowSigmas ? { ...request, options: { ...options, sigmas: undefined } } : request, {
    known: [
      ...conditionOptionNames(conditionNames),
      'height',
      'width',
      'sigmas',
      'trueCfgScale',
      'guidanceScale',
      'maxSequenceLength',
      'image',
      'strength',
    ],
    defaults,
    pipeline: 'FluxPipeline',
  });
  const trueCfgScale = checkNumber('trueCfgScale', given.trueCfgScale ?? 1, { min: 0, max: 100 });
  const guidance = { option: 'trueCfgScale', scale: trueCfgScale, needsNegative: true } as const;
  const conditions = readConditions(request, { given, names: conditionNames, guidance });
  warnIdle(request, {
    guidanceScale: !guidanceEmbedding && 'as this model has no guidance embedding; use trueCfgScale and negativePrompt',
    sigmas: flowSigmas && 'as the scheduler of this checkpoint lays out its own (use_flow_sigmas)',
    strength: !given.image && 'without an image',
    latents: given.image && 'with an image, whose noised latents are the start',
  });
  const counts = checkCounts(given, { steps: 28 });
  const batch = conditions.positive.count * counts.numImages;
  // A token covers 2×2 latents.
  const size = checkSize(given, { height: sampleSize, width: sampleSize, multipleOf: 2 * spatialScale });
  return {
    conditions,
    trueCfgScale,
    guidanceScale: guidanceEmbedding
      ? checkNumber('guidanceScale', given.guidanceScale ?? 3.5, { min: 0, max: 1000 })
      : undefined,
    maxSequenceLength: checkInteger('maxSequenceLength', given.maxSequenceLength ?? Math.min(512, maxTextTokens), {
      min: 1,
      max: 512,
    }),
    ...counts,
    batch,
    ...size,
    latentHeight: size.height / spatialScale,
    latentWidth: size.width / spatialScale,
    strength: checkNumber('strength', given.strength ?? 0.6, { min: 0, max: 1 }),
    images: checkStartImages(given.image, batch),
  };
}
