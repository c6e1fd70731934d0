/** The options of `StableDiffusion3Pipeline.generate`. */
import { fromModel, type PipelineOptions } from '../schema/pipeline-options.ts';

/** What a loaded model determines. */
export interface SD3Model {
  /** Edge of the images that the model was trained on. */
  sampleSize: number;
  /** Latents that a token covers along an edge. */
  patch: number;
  spatialScale: number;
  /** Of the third text encoder, where there is one. */
  maxTextTokens: number | undefined;
}

const edge = {
  default: fromModel("the transformer's sample_size", ({ sampleSize }: SD3Model) => sampleSize),
  multipleOf: fromModel('the pixels of a token', ({ spatialScale, patch }: SD3Model) => spatialScale * patch),
};

export const sd3Options = {
  conditions: { texts: ['prompt', 'prompt2', 'prompt3'], embeds: ['promptEmbeds', 'pooledPromptEmbeds'] },
  guidance: { option: 'guidanceScale' },
  options: {
    numInferenceSteps: { default: 28 },
    height: edge,
    width: edge,
    sigmas: {},
    guidanceScale: { default: 7 },
    maxSequenceLength: {
      max: 512,
      default: fromModel("256, or model_max_length of T5's tokenizer", ({ maxTextTokens = 256 }) =>
        Math.min(256, maxTextTokens),
      ),
    },
    clipSkip: {
      default: 0,
      idle: { because: 'on embeddings', when: ({ promptEmbeds }) => promptEmbeds !== undefined },
    },
    prompt3: {
      unused: {
        because: 'as this checkpoint has no third text encoder',
        when: ({ maxTextTokens }) => maxTextTokens === undefined,
      },
    },
  },
} as const satisfies PipelineOptions<SD3Model>;
