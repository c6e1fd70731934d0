/** What the options of Wan's pipelines, and of SkyReels-V2 which is one of its kind, have in common. */
import { aToken, textLength } from '../schema/sizes.ts';
import type { Experts } from './experts.ts';

/** Behind `conditions` and `guidance`. */
export const wanRequest = {
  conditions: { texts: ['prompt'], embeds: ['promptEmbeds'] },
  guidance: { option: 'guidanceScale' },
} as const;

interface WanDefaults {
  height: number;
  width: number;
  numFrames: number;
  guidanceScale: number;
}

export function videoOptions({ height, width, numFrames, guidanceScale }: WanDefaults) {
  return {
    numInferenceSteps: { default: 50 },
    height: { default: height, multipleOf: aToken },
    width: { default: width, multipleOf: aToken },
    numFrames: { default: numFrames },
    guidanceScale: { default: guidanceScale },
    maxSequenceLength: textLength(512, 'textEncoder'),
  };
}

/** Of Wan itself. */
export const wanOptions = {
  ...videoOptions({ height: 480, width: 832, numFrames: 81, guidanceScale: 5 }),
  guidanceScale2: {
    unused: {
      because: 'as this model has one expert',
      when: ({ config }: { config: Experts }) => config.boundaryRatio === undefined,
    },
  },
};
