/**
 * Kandinsky 5.0: text to image, read by Qwen2.5-VL and CLIP, in one of the sizes that it was trained at. Diffusers' `Kandinsky5T2IPipeline`.
 */
import { imagesFromTensor } from '../../images/image.ts';
import { autoencoder, scheduler, textEncoder, transformer } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import type { PipelineClass } from '../pipeline.ts';
import { affine } from '../request/tensors.ts';
import { kandinskyInputs, kandinskyLatents } from './latents.ts';
import { embedKandinsky } from './prompts.ts';

const instruction = {
  template:
    '<|im_start|>system\nYou are a prompt engineer. Describe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the objects and background:<|im_end|>\n<|im_start|>user\n{}<|im_end|>',
  tokens: 40,
};

type Size = readonly [width: number, height: number];

const trained: readonly Size[] = [
  [1024, 1024],
  [640, 1408],
  [1408, 640],
  [768, 1280],
  [1280, 768],
  [896, 1152],
  [1152, 896],
];

/** The size whose shape is next to that asked for. */
export function nearestSize([width, height]: Size, sizes: readonly Size[] = trained): Size {
  const away = ([w, h]: Size) => Math.abs(w / h - width / height);
  return sizes.find(([w, h]) => w === width && h === height) ?? sizes.reduce((a, b) => (away(b) < away(a) ? b : a));
}

/** @param sizes that pictures have */
export function kandinsky5Images(className: string, sizes: readonly Size[]): PipelineClass {
  return definePipeline({
    classNames: [className],
    components: {
      scheduler: scheduler(),
      textEncoder: textEncoder(),
      textEncoder2: textEncoder(),
      vae: autoencoder(),
      transformer: transformer('Kandinsky5Transformer3DModel'),
    },

    options: {
      conditions: { texts: ['prompt'], embeds: ['promptEmbedsQwen', 'promptEmbedsClip'] },
      guidance: { option: 'guidanceScale' },
      options: {
        numInferenceSteps: { default: 50 },
        height: { default: 1024 },
        width: { default: 1024 },
        guidanceScale: { default: 3.5 },
        maxSequenceLength: { default: 512, min: 3, max: 1024 },
      },
    },

    plan({ parts, settings, reading, warnings }) {
      const { transformer, vae } = parts;
      const { batch, maxSequenceLength: maxLength } = settings;
      const { inChannels, outChannels: channels, patch } = transformer.traits;
      const [width, height] = nearestSize([settings.width, settings.height], sizes);
      if (width !== settings.width || height !== settings.height)
        warnings.add(
          `width ${settings.width} and height ${settings.height} become ${width} and ${height}: the trained size nearest in shape`,
        );
      const [rows, columns] = [height / vae.spatialScale, width / vae.spatialScale];
      const latents = kandinskyLatents({ batch, frames: 1, rows, columns, channels });
      return {
        tokens: (rows * columns) / (patch[1] * patch[2]),
        size: { height, width },
        embed: (condition) => embedKandinsky(parts, condition, { instruction, maxLength, ...reading }),
        latents,
        schedule: { numInferenceSteps: settings.numInferenceSteps },
        inputsAt: (sample, timestep, branch) =>
          kandinskyInputs(sample, { timestep, branch, inChannels, patch, scale: [1, 1, 1] }),
        // The autoencoder's shift is left out.
        decode: async (sample, signal) => {
          const raw = affine(latents.unpack(sample), { scale: 1 / vae.scalingFactor });
          const pictures = await vae.decode(raw.reshape([batch, channels, rows, columns]), { signal });
          return { images: imagesFromTensor(pictures) };
        },
      };
    },
  });
}

export const kandinsky5ImagePipeline = kandinsky5Images('Kandinsky5T2IPipeline', trained);
