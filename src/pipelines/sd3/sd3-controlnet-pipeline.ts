/**
 * Stable Diffusion 3 with ControlNets: along pictures of edges, depth or the like, and inpainting with nets that see a mask too. Diffusers'
 * `StableDiffusion3ControlNetPipeline` and `StableDiffusion3ControlNetInpaintingPipeline`.
 */
import type { Autoencoder } from '../../models/autoencoders/autoencoder.ts';
import type { ForwardInputs } from '../../models/inputs.ts';
import { join } from '../../tensor/slices.ts';
import { floatTensor, Tensor } from '../../tensor/tensor.ts';
import { controlNets } from '../components.ts';
import { definePipeline } from '../define-pipeline.ts';
import { type Control, controlledPlan, controlOptions, readControls } from '../request/control-nets.ts';
import { perSample, transformerLatents } from '../request/latents.ts';
import { latentMasks, maskedPictures } from '../request/masks.ts';
import type { NoiseSource } from '../request/noise.ts';
import { affine } from '../request/tensors.ts';
import { sd3Components, sd3Conditions, sd3Options, sd3Plan } from './calls.ts';

const { transformer, ...others } = sd3Components;
const components = { ...others, controlnet: controlNets('SD3ControlNetModel'), transformer };

export const sd3ControlNetPipeline = controlled('StableDiffusion3ControlNetPipeline', { masked: false });
export const sd3ControlNetInpaintingPipeline = controlled('StableDiffusion3ControlNetInpaintingPipeline', {
  masked: true,
});

function controlled(className: string, { masked }: { masked: boolean }) {
  return definePipeline({
    classNames: [className],
    components,

    options: {
      conditions: sd3Conditions,
      guidance: { option: 'guidanceScale' },
      options: {
        numInferenceSteps: { default: 28 },
        ...sd3Options,
        ...controlOptions,
        ...(masked ? { controlMask: { required: true } } : {}),
      },
    },

    async plan({ parts, settings, reading, warnings }) {
      const { vae, transformer } = parts;
      const plan = sd3Plan({ parts, settings, reading });
      const { signal } = settings;
      const isGuided = settings.conditions.negative !== undefined;
      const controls = await readControls(parts.controlnet, settings, warnings);
      return {
        ...plan,
        ...controlledPlan({
          controls,
          steps: settings.numInferenceSteps,
          latents: plan.latents,
          given: settings.latents,
          see: (control, noise) =>
            masked
              ? maskedLatents(control, { vae, noise, signal, isGuided })
              : pictureLatents(control, { vae, noise, signal, isGuided }),
          inputsOf: async ({ control: { net }, seen, latents, timestep, branch }) => {
            const { encoder_hidden_states, pooled_projections: pooled } = branch;
            const call = plan.inputsAt(latents, timestep, branch);
            const embedsLatents = net.config['use_pos_embed'] !== false;
            return {
              ...call,
              ...(embedsLatents ? {} : { hidden_states: await transformer.embed({ ...call, ...branch }, signal) }),
              ...(net.config['joint_attention_dim'] === null ? {} : { encoder_hidden_states }),
              pooled_projections: withoutPooled(net.config) ? zerosLike(pooled) : pooled,
              timestep: perSample(latents, timestep),
              controlnet_cond: seen,
            };
          },
          names: { controlnet_block_samples: 'block_controlnet_hidden_states' },
          warnings,
          signal,
        }),
      };
    },
  });
}

interface Seeing {
  vae: Autoencoder;
  noise: NoiseSource;
  signal: AbortSignal | undefined;
  /** Whether each picture of the request is two samples of a call. */
  isGuided: boolean;
}

/** Nets of others than Stability AI were trained without the pooled text, and on latents that are not shifted. */
const withoutPooled = (config: Control['net']['config']) => config['force_zeros_for_pooled_projection'] !== false;

/** Both samples of a picture see latents of their own; the negative ones are drawn first. */
async function pictureLatents({ net, pixels }: Control, { vae, noise, signal, isGuided }: Seeing): Promise<Tensor> {
  const atScale = (latents: Tensor) =>
    withoutPooled(net.config) ? affine(latents, { scale: vae.scalingFactor }) : transformerLatents(latents, vae);
  const batch = pixels.dim(0);
  const encode = (samples: number) => vae.encode(pixels, { generator: noise, samples, signal });
  if (!isGuided) return atScale(await encode(batch));
  const drawn = noise.perImage ? join([await encode(batch), await encode(batch)], 0) : await encode(2 * batch);
  return swapHalves(atScale(drawn));
}

/** What the mask leaves, and the mask itself: 1 where it leaves something. */
async function maskedLatents({ pixels, masks }: Control, { vae, noise, signal, isGuided }: Seeing): Promise<Tensor> {
  const encoded = await vae.encode(maskedPictures(pixels, masks!, -1), { generator: noise, signal });
  const left = affine(latentMasks(masks!, { scale: vae.spatialScale, channels: 1 }), { scale: -1, shift: 1 });
  const seen = join([transformerLatents(encoded, vae), left], 1);
  return isGuided ? join([seen, seen], 0) : seen;
}

function swapHalves(rows: Tensor): Tensor {
  const half = rows.size / 2;
  const swapped = new Float32Array(rows.size);
  swapped.set(rows.f32.subarray(half));
  swapped.set(rows.f32.subarray(0, half), half);
  return floatTensor(swapped, rows.shape);
}

function zerosLike(tensor: ForwardInputs[string]): ForwardInputs[string] {
  return tensor instanceof Tensor ? floatTensor(new Float32Array(tensor.size), tensor.shape) : tensor;
}
