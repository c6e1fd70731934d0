/** The options of `DiTPipeline.generate`. */
import { fromModel, type PipelineOptions } from '../schema/pipeline-options.ts';

/** What a loaded model determines. */
export interface DiTModel {
  classes: number;
  names: readonly string[];
  trainTimesteps: number;
}

export const ditOptions = {
  options: {
    classLabels: {
      required: true,
      min: 0,
      max: fromModel('the classes that the transformer knows', ({ classes }) => classes - 1),
      names: fromModel('id2label of model_index.json', ({ names }) => names),
    },
    numInferenceSteps: {
      default: 50,
      max: fromModel("the scheduler's num_train_timesteps", ({ trainTimesteps }) => trainTimesteps),
    },
    guidanceScale: { default: 4 },
  },
} as const satisfies PipelineOptions<DiTModel>;
