/**
 * Qwen-Image with ControlNets: along pictures of edges, depth or the like, and inpainting with a net that sees a mask too. Diffusers'
 * `QwenImageControlNetPipeline` and `QwenImageControlNetInpaintPipeline`.
 */
import { join } from '../../tensor/slices.ts';
import { controlNets } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { controlledPlan, controlOptions, readControls } from '../request/control-nets.ts';
import { latentMasks, maskedPictures } from '../request/masks.ts';
import { packedLatents } from '../request/packing.ts';
import { flowSchedule } from '../request/schedule.ts';
import { encodePictures } from '../request/start-images.ts';
import { affine } from '../request/tensors.ts';
import { edges } from '../schema/sizes.ts';
import { embedPrompt, qwenCalls, qwenComponents, qwenConditions, qwenGuidance, qwenOptions } from './calls.ts';

const { transformer, ...others } = qwenComponents;
const components = { ...others, controlnet: controlNets('QwenImageControlNetModel'), transformer };

export const qwenImageControlNetPipeline = controlled('QwenImageControlNetPipeline', { masked: false });
export const qwenImageControlNetInpaintPipeline = controlled('QwenImageControlNetInpaintPipeline', { masked: true });

function controlled(className: string, { masked }: { masked: boolean }) {
  return definePipeline({
    classNames: [className],
    components,

    options: {
      conditions: qwenConditions,
      guidance: qwenGuidance,
      options: {
        ...qwenOptions,
        ...edges(128),
        maxSequenceLength: { default: 512, max: 1024 },
        ...controlOptions,
        ...(masked ? { controlMask: { required: true } } : {}),
      },
    },

    async plan({ parts, settings, reading, warnings }) {
      const { textEncoder, transformer, vae, scheduler, controlnet } = parts;
      const { batch, trueCfgScale, maxSequenceLength: maxLength, signal } = settings;
      const [rows, columns] = [settings.height / vae.spatialScale, settings.width / vae.spatialScale];
      const tokens = (rows * columns) / 4;
      const channels = transformer.traits.inChannels / 4;
      const latents = packedLatents([batch, channels, rows, columns]);
      const withMask = packedLatents([batch, channels + 1, rows, columns]);
      const calls = qwenCalls([[rows / 2, columns / 2]], trueCfgScale);
      const controls = await readControls(controlnet, settings, warnings);
      return {
        tokens: tokens + maxLength,
        embed: (condition) => embedPrompt(textEncoder, condition, { maxLength, ...reading }),
        latents,
        schedule: flowSchedule(settings, { scheduler, tokens }),
        ...calls,
        ...controlledPlan({
          controls,
          steps: settings.numInferenceSteps,
          latents,
          given: settings.latents,
          see: async ({ pixels, masks }, noise) => {
            const encode = async (picture: typeof pixels) =>
              (await encodePictures(picture, { vae, batch, noise, signal })).reshape(latents.drawn);
            if (!masked) return latents.pack(await encode(pixels));
            const kept = await encode(maskedPictures(pixels, masks!, -1));
            const left = affine(latentMasks(masks!, { scale: vae.spatialScale, channels: 1 }), { scale: -1, shift: 1 });
            return withMask.pack(join([kept, left], 1));
          },
          inputsOf: ({ seen, latents: sample, timestep, branch }) => ({
            ...calls.inputsAt(sample, timestep, branch),
            ...branch,
            controlnet_cond: seen,
          }),
          warnings,
          signal,
        }),
      };
    },
  });
}
