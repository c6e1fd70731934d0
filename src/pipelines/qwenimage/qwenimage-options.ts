/** The options of `QwenImagePipeline.generate`. */
import { fromModel, type PipelineOptions } from '../schema/pipeline-options.ts';

/** What a loaded model determines. */
export interface QwenImageModel {
  spatialScale: number;
}

const edge = {
  default: fromModel('128 latents', ({ spatialScale }: QwenImageModel) => 128 * spatialScale),
  multipleOf: fromModel('two latents, which a token covers', ({ spatialScale }: QwenImageModel) => 2 * spatialScale),
};

export const qwenImageOptions = {
  conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], masks: ['promptEmbedsMask'] },
  guidance: { option: 'trueCfgScale', needsNegative: true },
  options: {
    numInferenceSteps: { default: 50 },
    height: edge,
    width: edge,
    sigmas: {},
    trueCfgScale: { default: 4 },
    guidanceScale: {
      unused: {
        because: 'as this model has no guidance embedding; use trueCfgScale and negativePrompt',
        when: () => true,
      },
    },
    maxSequenceLength: { default: 512, max: 1024 },
  },
} as const satisfies PipelineOptions<QwenImageModel>;
