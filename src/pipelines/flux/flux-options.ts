/** The options of `FluxPipeline.generate`. */
import { fromModel, type PipelineOptions } from '../schema/pipeline-options.ts';

/** What a loaded model determines. */
export interface FluxModel {
  guidanceEmbedding: boolean;
  /** Whether the scheduler lays out its own noise levels. */
  flowSigmas: boolean;
  /** Edge of the images that the model was trained on. */
  sampleSize: number;
  /** Pixels per latent along an edge. */
  spatialScale: number;
  maxTextTokens: number;
}

const edge = {
  default: fromModel("the autoencoder's sample_size", ({ sampleSize }: FluxModel) => sampleSize),
  multipleOf: fromModel('two latents, which a token covers', ({ spatialScale }: FluxModel) => 2 * spatialScale),
};

export const fluxOptions = {
  conditions: { texts: ['prompt', 'prompt2'], embeds: ['promptEmbeds', 'pooledPromptEmbeds'] },
  guidance: { option: 'trueCfgScale', needsNegative: true },
  options: {
    numInferenceSteps: { default: 28 },
    height: edge,
    width: edge,
    trueCfgScale: { default: 1 },
    guidanceScale: {
      default: 3.5,
      unused: {
        because: 'as this model has no guidance embedding; use trueCfgScale and negativePrompt',
        when: ({ guidanceEmbedding }) => !guidanceEmbedding,
      },
    },
    maxSequenceLength: {
      max: 512,
      default: fromModel("512, or model_max_length of T5's tokenizer", ({ maxTextTokens }) =>
        Math.min(512, maxTextTokens),
      ),
    },
    sigmas: {
      unused: {
        because: 'as the scheduler of this checkpoint lays out its own (use_flow_sigmas)',
        when: ({ flowSigmas }) => flowSigmas,
      },
    },
    latents: {
      idle: { because: 'with an image, whose noised latents are the start', when: ({ image }) => image !== undefined },
    },
    image: {},
    strength: { default: 0.6, idle: { because: 'without an image', when: ({ image }) => image === undefined } },
  },
} as const satisfies PipelineOptions<FluxModel>;
