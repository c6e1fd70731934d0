/** Qwen-Image-Edit from 2509 on: one or several pictures, which a text may name. Diffusers' `QwenImageEditPlusPipeline`. */
import { definePipeline } from '../define-pipeline.ts';
import { loadImages } from '../request/start-images.ts';
import { qwenConditions, qwenGuidance } from './calls.ts';
import { editComponents, editOptions, ofArea, picturePlace, planEdit } from './edit-plan.ts';

export const qwenImageEditPlusPipeline = definePipeline({
  classNames: ['QwenImageEditPlusPipeline'],
  components: editComponents,
  options: {
    conditions: qwenConditions,
    guidance: qwenGuidance,
    options: { ...editOptions, conditionArea: { default: 384 ** 2 } },
  },

  async plan({ parts, settings }) {
    const { maxArea, conditionArea } = settings;
    const images = await loadImages(settings.image!);
    return planEdit({
      parts,
      settings,
      model: images.at(-1)!,
      seen: await Promise.all(images.map((image) => ofArea(image, conditionArea))),
      beside: await Promise.all(images.map((image) => ofArea(image, maxArea))),
      before: images.map((_, i) => `Picture ${i + 1}: ${picturePlace}`).join(''),
    });
  },
});
