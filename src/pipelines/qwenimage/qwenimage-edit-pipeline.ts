/** Qwen-Image-Edit: a picture changed as a text says. Diffusers' `QwenImageEditPipeline`. */
import { DejaDitError } from '../../errors/errors.ts';
import { definePipeline } from '../define-pipeline.ts';
import { loadImages } from '../request/start-images.ts';
import { qwenConditions, qwenGuidance } from './calls.ts';
import { editComponents, editOptions, ofArea, picturePlace, planEdit } from './edit-plan.ts';

export const qwenImageEditPipeline = definePipeline({
  classNames: ['QwenImageEditPipeline'],
  components: editComponents,
  options: { conditions: qwenConditions, guidance: qwenGuidance, options: editOptions },

  async plan({ parts, settings }) {
    const [model, ...others] = await loadImages(settings.image!);
    if (others.length > 0)
      throw new DejaDitError(
        'INVALID_ARGUMENT',
        'this model sees one picture; QwenImageEditPlusPipeline sees several',
        {
          path: 'image',
        },
      );
    const pictures = [await ofArea(model!, settings.maxArea)];
    return planEdit({ parts, settings, model: model!, seen: pictures, beside: pictures, before: picturePlace });
  },
});
