/** The options of `ZImagePipeline.generate`. */
import type { GenerateOptions } from '../schema/options.ts';
import { fromModel, type PipelineOptions } from '../schema/pipeline-options.ts';

/** What a loaded model determines. */
export interface ZImageModel {
  spatialScale: number;
}

const edge = {
  default: 1024,
  multipleOf: fromModel('two latents, which a token covers', ({ spatialScale }: ZImageModel) => 2 * spatialScale),
};

const unguided = {
  because: 'without guidance; set guidanceScale above 0',
  when: ({ guidanceScale }: GenerateOptions) => guidanceScale === 0,
};

export const zImageOptions = {
  conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], ragged: true },
  guidance: { option: 'guidanceScale', above: 0 },
  options: {
    numInferenceSteps: { default: 50 },
    height: edge,
    width: edge,
    sigmas: {},
    guidanceScale: { default: 5 },
    cfgNormalization: { default: false, idle: unguided },
    cfgTruncation: { default: 1, idle: unguided },
    maxSequenceLength: { default: 512 },
  },
} as const satisfies PipelineOptions<ZImageModel>;
