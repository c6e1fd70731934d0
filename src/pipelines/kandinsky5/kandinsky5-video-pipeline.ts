/** Kandinsky 5.0: text to video, read by Qwen2.5-VL and CLIP. Diffusers' `Kandinsky5T2VPipeline`. */
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { latentFrames } from '../request/latents.ts';
import { aToken } from '../schema/sizes.ts';
import { kandinskyInputs, kandinskyLatents } from './latents.ts';
import { embedKandinsky } from './prompts.ts';

const instruction = {
  template: [
    '<|im_start|>system\nYou are a prompt engineer. Describe the video in detail.',
    'Describe how the camera moves or shakes, describe the zoom and view angle, whether it follows the objects.',
    'Describe the location of the video, main characters or objects and their action.',
    'Describe the dynamism of the video and presented actions.',
    'Name the visual style of the video: whether it is a professional footage, user generated content, some kind of animation, video game or scren content.',
    'Describe the visual effects, postprocessing and transitions if they are presented in the video.',
    'Pay attention to the order of key actions shown in the scene.<|im_end|>',
    '<|im_start|>user\n{}<|im_end|>',
  ].join('\n'),
  tokens: 128,
};

/** What stands in for no negative prompt. */
const unwanted =
  'Static, 2D cartoon, cartoon, 2d animation, paintings, images, worst quality, low quality, ugly, deformed, walking backwards';

/** Positions are closer to each other in videos of more than 480p. */
function positionScale(height: number, width: number): readonly [number, number, number] {
  const small = [height, width].every((edge) => edge >= 480 && edge <= 854);
  return small ? [1, 2, 2] : [1, 3.16, 3.16];
}

export const kandinsky5VideoPipeline = definePipeline({
  classNames: ['Kandinsky5T2VPipeline'],
  components: {
    scheduler: scheduler(),
    textEncoder: textEncoder(),
    textEncoder2: textEncoder(),
    vae: autoencoder(),
    transformer: transformer('Kandinsky5Transformer3DModel'),
  },
  output: 'videos',

  options: {
    conditions: { texts: ['prompt'], embeds: ['promptEmbedsQwen', 'promptEmbedsClip'] },
    guidance: { option: 'guidanceScale' },
    options: {
      numInferenceSteps: { default: 50 },
      height: { default: 512, multipleOf: aToken },
      width: { default: 768, multipleOf: aToken },
      numFrames: { default: 121 },
      guidanceScale: { default: 5 },
      maxSequenceLength: { default: 512, min: 3, max: 1024 },
    },
  },

  plan({ parts, settings, reading, warnings }) {
    const { transformer, vae } = parts;
    const { batch, height, width, negativePrompt, negativePromptEmbedsQwen, maxSequenceLength: maxLength } = settings;
    const { inChannels, outChannels: channels, patch } = transformer.traits;
    const frames = latentFrames(settings.numFrames, { vae, warnings });
    const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
    const scale = positionScale(height, width);
    const unsaid = negativePrompt === undefined && negativePromptEmbedsQwen === undefined;
    return {
      tokens: (frames * rows * columns) / (patch[0] * patch[1] * patch[2]),
      frames: 1 + (frames - 1) * (vae.traits.temporalScale ?? 1),
      fps: 24,
      embed: (condition, isNegative) => {
        const standIn = { ...condition, texts: [Array<string>(condition.count).fill(unwanted)] };
        const asked = isNegative && unsaid ? standIn : condition;
        return embedKandinsky(parts, asked, { instruction, maxLength, ...reading });
      },
      latents: kandinskyLatents({ batch, frames, rows, columns, channels }),
      schedule: { numInferenceSteps: settings.numInferenceSteps },
      inputsAt: (latents, timestep, branch) => kandinskyInputs(latents, { timestep, branch, inChannels, patch, scale }),
    };
  },
});
