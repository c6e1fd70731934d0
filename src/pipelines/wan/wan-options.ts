/** The options of `WanPipeline.generate`. */
import { fromModel, type PipelineOptions } from '../schema/pipeline-options.ts';

/** What a loaded model determines. */
export interface WanModel {
  spatialScale: number;
  /** Latents that a token covers along height and width. */
  patch: readonly [number, number];
  twoExperts: boolean;
  maxTextTokens: number;
}

const multipleOf = fromModel(
  'the pixels of a token',
  ({ spatialScale, patch }: WanModel) => spatialScale * Math.max(...patch),
);

export const wanOptions = {
  conditions: { texts: ['prompt'], embeds: ['promptEmbeds'] },
  guidance: { option: 'guidanceScale' },
  options: {
    numInferenceSteps: { default: 50 },
    height: { default: 480, multipleOf },
    width: { default: 832, multipleOf },
    numFrames: { default: 81 },
    guidanceScale: { default: 5 },
    guidanceScale2: {
      unused: { because: 'as this model has one expert', when: ({ twoExperts }) => !twoExperts },
    },
    maxSequenceLength: {
      max: 512,
      default: fromModel('512, or model_max_length of the tokenizer', ({ maxTextTokens }) =>
        Math.min(512, maxTextTokens),
      ),
    },
  },
} as const satisfies PipelineOptions<WanModel>;
