/** The options of `DiTPipeline.generate`. */
import { fromModel, type PipelineOptions } from '../schema/pipeline-options.ts';

/** What a loaded model determines. */
export interface DiTModel {
  classes: number;
  names: readonly string[];
}

export const ditOptions = {
  options: {
    classLabels: {
      min: 0,
      max: fromModel('the classes that the transformer knows', ({ classes }) => classes - 1),
      names: fromModel('id2label of model_index.json', ({ names }) => names),
    },
    numInferenceSteps: { default: 50 },
    guidanceScale: { default: 4 },
  },
} as const satisfies PipelineOptions<DiTModel>;
