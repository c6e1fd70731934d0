/** The options of `PixArtPipeline.generate`. */
import { fromModel, type PipelineOptions } from '../schema/pipeline-options.ts';

/** What a loaded model determines. */
export interface PixArtModel {
  /** Latents along the edge of the images that the model was trained on. */
  sampleSize: number;
  /** Latents that a token covers along an edge. */
  patch: number;
  spatialScale: number;
  /** That the model was trained with, as far as its tokenizer goes. */
  textTokens: number;
}

const edge = {
  default: fromModel(
    "the transformer's sample_size",
    ({ sampleSize, spatialScale }: PixArtModel) => sampleSize * spatialScale,
  ),
};

export const pixartOptions = {
  conditions: { texts: ['prompt'], embeds: ['promptEmbeds'], masks: ['promptAttentionMask'] },
  guidance: { option: 'guidanceScale' },
  options: {
    numInferenceSteps: { default: 20 },
    height: edge,
    width: edge,
    useResolutionBinning: { default: true },
    sigmas: {},
    timesteps: {},
    guidanceScale: { default: 4.5 },
    maxSequenceLength: {
      max: 512,
      default: fromModel('300 for PixArt-Σ, 120 for PixArt-α', ({ textTokens }) => textTokens),
    },
  },
} as const satisfies PipelineOptions<PixArtModel>;
