/** LTX-Video: text to video. Diffusers' `LTXPipeline`. */
import { definePipeline } from '../define-pipeline.ts';
import { ltxComponents, ltxConditions, ltxOptions, planVideo } from './ltx-plan.ts';

export const ltxPipeline = definePipeline({
  classNames: ['LTXPipeline'],
  components: ltxComponents,
  output: 'videos',
  options: { conditions: ltxConditions, guidance: { option: 'guidanceScale' }, options: ltxOptions },
  plan: planVideo,
});
