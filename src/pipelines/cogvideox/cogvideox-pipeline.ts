/** CogVideoX: text to video. Diffusers' `CogVideoXPipeline`. */
import { definePipeline } from '../define-pipeline.ts';
import {
  cogVideoXComponents,
  cogVideoXConditions,
  cogVideoXOptions,
  planVideo,
  trainedFrames,
} from './cogvideox-plan.ts';

export const cogVideoXPipeline = definePipeline({
  classNames: ['CogVideoXPipeline'],
  components: cogVideoXComponents,
  output: 'videos',
  options: {
    conditions: cogVideoXConditions,
    guidance: { option: 'guidanceScale' },
    options: { ...cogVideoXOptions, numFrames: { default: trainedFrames } },
  },
  plan: ({ parts, settings, reading, warnings }) =>
    planVideo({
      parts,
      settings,
      reading,
      warnings,
      numFrames: settings.numFrames,
      channels: parts.transformer.traits.inChannels,
    }),
});
