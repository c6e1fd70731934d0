/** What requests to FLUX.1's pipelines have in common; each adds its own, and other defaults. */
import { edges, noGuidanceEmbedding, promptWeighting, textLength } from '../schema/sizes.ts';

export const fluxConditions = {
  texts: ['prompt', 'prompt2'],
  embeds: ['promptEmbeds', 'pooledPromptEmbeds'],
} as const;

/** Classifier-free guidance beside the distilled one. */
export const fluxGuidance = { option: 'trueCfgScale', needsNegative: true } as const;

/** @param guidanceScale the distilled one, unless a request says */
export const fluxOptions = (guidanceScale: number) => ({
  numInferenceSteps: { default: 28 },
  ...edges(128),
  sigmas: {},
  guidanceScale: { default: guidanceScale, unused: noGuidanceEmbedding },
  maxSequenceLength: textLength(512, 'textEncoder2'),
  promptWeighting,
});
