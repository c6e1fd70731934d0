/** The pipelines by Diffusers' class names. A pipeline's file is read when its class is asked for, and not before. */
import { DejaDitError } from '../errors/errors.ts';
import type { PipelineClass } from './pipeline.ts';

/** A new pipeline is a line here for each class of Diffusers whose work it does. */
const builtIn: Readonly<Record<string, () => Promise<PipelineClass>>> = {
  AnimaModularPipeline: async () => (await import('./anima/anima-pipeline.ts')).animaPipeline,
  BriaPipeline: async () => (await import('./bria/bria-pipeline.ts')).briaPipeline,
  BriaFiboPipeline: async () => (await import('./briafibo/bria-fibo-pipeline.ts')).briaFiboPipeline,
  AuraFlowPipeline: async () => (await import('./auraflow/auraflow-pipeline.ts')).auraFlowPipeline,
  ChromaPipeline: async () => (await import('./chroma/chroma-pipeline.ts')).chromaPipeline,
  ChromaImg2ImgPipeline: async () => (await import('./chroma/chroma-pipeline.ts')).chromaPipeline,
  CogVideoXPipeline: async () => (await import('./cogvideox/cogvideox-pipeline.ts')).cogVideoXPipeline,
  CogVideoXImageToVideoPipeline: async () =>
    (await import('./cogvideox/cogvideox-image-pipeline.ts')).cogVideoXImagePipeline,
  CogVideoXVideoToVideoPipeline: async () =>
    (await import('./cogvideox/cogvideox-video-pipeline.ts')).cogVideoXVideoPipeline,
  CogView4Pipeline: async () => (await import('./cogview4/cogview4-pipeline.ts')).cogView4Pipeline,
  DiTPipeline: async () => (await import('./dit/dit-pipeline.ts')).ditPipeline,
  ErnieImagePipeline: async () => (await import('./ernieimage/ernie-image-pipeline.ts')).ernieImagePipeline,
  FluxPipeline: async () => (await import('./flux/flux-pipeline.ts')).fluxPipeline,
  FluxImg2ImgPipeline: async () => (await import('./flux/flux-pipeline.ts')).fluxPipeline,
  Flux3DistilledModularPipeline: async () => (await import('./flux3/flux3-pipeline.ts')).flux3DistilledPipeline,
  Flux3ModularPipeline: async () => (await import('./flux3/flux3-pipeline.ts')).flux3Pipeline,
  Flux2Pipeline: async () => (await import('./flux2/flux2-pipeline.ts')).flux2Pipeline,
  Flux2KleinPipeline: async () => (await import('./flux2/flux2-klein-pipeline.ts')).flux2KleinPipeline,
  FluxControlNetPipeline: async () => (await import('./flux/flux-controlnet-pipeline.ts')).fluxControlNetPipeline,
  FluxFillPipeline: async () => (await import('./flux/flux-fill-pipeline.ts')).fluxFillPipeline,
  FluxInpaintPipeline: async () => (await import('./flux/flux-inpaint-pipeline.ts')).fluxInpaintPipeline,
  FluxKontextPipeline: async () => (await import('./flux/flux-kontext-pipeline.ts')).fluxKontextPipeline,
  HiDreamImagePipeline: async () => (await import('./hidream/hidream-image-pipeline.ts')).hiDreamImagePipeline,
  HunyuanImagePipeline: async () => (await import('./hunyuanimage/hunyuanimage-pipeline.ts')).hunyuanImagePipeline,
  HunyuanVideoPipeline: async () => (await import('./hunyuanvideo/hunyuanvideo-pipeline.ts')).hunyuanVideoPipeline,
  HunyuanVideo15Pipeline: async () =>
    (await import('./hunyuanvideo15/hunyuanvideo15-pipeline.ts')).hunyuanVideo15Pipeline,
  Kandinsky5T2IPipeline: async () =>
    (await import('./kandinsky5/kandinsky5-image-pipeline.ts')).kandinsky5ImagePipeline,
  Kandinsky5T2VPipeline: async () =>
    (await import('./kandinsky5/kandinsky5-video-pipeline.ts')).kandinsky5VideoPipeline,
  Krea2Pipeline: async () => (await import('./krea2/krea2-pipeline.ts')).krea2Pipeline,
  LongCatImagePipeline: async () => (await import('./longcatimage/longcat-image-pipeline.ts')).longCatImagePipeline,
  LTXImageToVideoPipeline: async () => (await import('./ltx/ltx-image-pipeline.ts')).ltxImagePipeline,
  LTXPipeline: async () => (await import('./ltx/ltx-pipeline.ts')).ltxPipeline,
  Lumina2Pipeline: async () => (await import('./lumina2/lumina2-pipeline.ts')).lumina2Pipeline,
  Lumina2Text2ImgPipeline: async () => (await import('./lumina2/lumina2-pipeline.ts')).lumina2Pipeline,
  MochiPipeline: async () => (await import('./mochi/mochi-pipeline.ts')).mochiPipeline,
  OvisImagePipeline: async () => (await import('./ovisimage/ovisimage-pipeline.ts')).ovisImagePipeline,
  PixArtSigmaPipeline: async () => (await import('./pixart/pixart-pipeline.ts')).pixartSigmaPipeline,
  PixArtAlphaPipeline: async () => (await import('./pixart/pixart-pipeline.ts')).pixartAlphaPipeline,
  PRXPipeline: async () => (await import('./prx/prx-pipeline.ts')).prxPipeline,
  QwenImageControlNetPipeline: async () =>
    (await import('./qwenimage/qwenimage-controlnet-pipeline.ts')).qwenImageControlNetPipeline,
  QwenImageControlNetInpaintPipeline: async () =>
    (await import('./qwenimage/qwenimage-controlnet-pipeline.ts')).qwenImageControlNetInpaintPipeline,
  QwenImageEditPipeline: async () => (await import('./qwenimage/qwenimage-edit-pipeline.ts')).qwenImageEditPipeline,
  QwenImageEditPlusPipeline: async () =>
    (await import('./qwenimage/qwenimage-edit-plus-pipeline.ts')).qwenImageEditPlusPipeline,
  QwenImageImg2ImgPipeline: async () => (await import('./qwenimage/qwenimage-pipeline.ts')).qwenImagePipeline,
  QwenImageInpaintPipeline: async () => (await import('./qwenimage/qwenimage-pipeline.ts')).qwenImageInpaintPipeline,
  QwenImagePipeline: async () => (await import('./qwenimage/qwenimage-pipeline.ts')).qwenImagePipeline,
  QwenImage21Pipeline: async () => (await import('./qwenimage21/qwenimage21-pipeline.ts')).qwenImage21Pipeline,
  SanaPipeline: async () => (await import('./sana/sana-pipeline.ts')).sanaPipeline,
  SanaSprintPipeline: async () => (await import('./sana/sana-sprint-pipeline.ts')).sanaSprintPipeline,
  SkyReelsV2Pipeline: async () => (await import('./skyreelsv2/skyreels-v2-pipeline.ts')).skyReelsV2Pipeline,
  StableDiffusion3ControlNetPipeline: async () =>
    (await import('./sd3/sd3-controlnet-pipeline.ts')).sd3ControlNetPipeline,
  StableDiffusion3ControlNetInpaintingPipeline: async () =>
    (await import('./sd3/sd3-controlnet-pipeline.ts')).sd3ControlNetInpaintingPipeline,
  StableDiffusion3Img2ImgPipeline: async () => (await import('./sd3/sd3-pipeline.ts')).sd3Img2ImgPipeline,
  StableDiffusion3InpaintPipeline: async () => (await import('./sd3/sd3-pipeline.ts')).sd3InpaintPipeline,
  StableDiffusion3Pipeline: async () => (await import('./sd3/sd3-pipeline.ts')).sd3Pipeline,
  StableDiffusionPipeline: async () =>
    (await import('./stablediffusion/stable-diffusion-pipeline.ts')).stableDiffusionPipeline,
  StableDiffusionImg2ImgPipeline: async () =>
    (await import('./stablediffusion/stable-diffusion-pipeline.ts')).stableDiffusionPipeline,
  StableDiffusionInpaintPipeline: async () =>
    (await import('./stablediffusion/stable-diffusion-pipeline.ts')).stableDiffusionInpaintPipeline,
  StableDiffusionXLInpaintPipeline: async () =>
    (await import('./stablediffusion/stable-diffusion-xl-pipeline.ts')).stableDiffusionXLInpaintPipeline,
  StableDiffusionXLPipeline: async () =>
    (await import('./stablediffusion/stable-diffusion-xl-pipeline.ts')).stableDiffusionXLPipeline,
  StableDiffusionXLImg2ImgPipeline: async () =>
    (await import('./stablediffusion/stable-diffusion-xl-pipeline.ts')).stableDiffusionXLPipeline,
  WanImageToVideoPipeline: async () => (await import('./wan/wan-image-pipeline.ts')).wanImagePipeline,
  WanPipeline: async () => (await import('./wan/wan-pipeline.ts')).wanPipeline,
  ZImageImg2ImgPipeline: async () => (await import('./zimage/zimage-pipeline.ts')).zImagePipeline,
  ZImagePipeline: async () => (await import('./zimage/zimage-pipeline.ts')).zImagePipeline,
};

/** By family, the pipelines of those that take ControlNets: for pictures, and for pictures with a mask. */
const withControlNets: readonly { pipelines: readonly string[]; picture: string; mask?: string }[] = [
  { pipelines: ['FluxPipeline', 'FluxControlNetPipeline'], picture: 'FluxControlNetPipeline' },
  {
    pipelines: ['StableDiffusion3Pipeline', 'StableDiffusion3ControlNetPipeline'],
    picture: 'StableDiffusion3ControlNetPipeline',
    mask: 'StableDiffusion3ControlNetInpaintingPipeline',
  },
  {
    pipelines: ['QwenImagePipeline', 'QwenImageControlNetPipeline'],
    picture: 'QwenImageControlNetPipeline',
    mask: 'QwenImageControlNetInpaintPipeline',
  },
];

/**
 * The class of a pipeline that is given a ControlNet.
 * @param net its config: one with channels for a mask inpaints. Undefined: not known yet
 * @throws DejaDitError UNSUPPORTED if there is none
 */
export function controlledClass(className: string, net: Readonly<Record<string, unknown>> = {}): string {
  const found = withControlNets.find(({ pipelines, mask }) => [...pipelines, mask].includes(className));
  if (!found) {
    const known = withControlNets.map(({ pipelines }) => pipelines[0]).join(', ');
    throw new DejaDitError('UNSUPPORTED', `a ${className} takes no ControlNet; those that do: ${known}`, {
      path: 'controlnet',
    });
  }
  // Stable Diffusion 3 and Qwen-Image spell it differently.
  const channels = net['extra_conditioning_channels'] ?? net['extra_condition_channels'] ?? 0;
  return (channels !== 0 ? found.mask : undefined) ?? found.picture;
}

const pipelines = new Map(Object.entries(builtIn));

/**
 * Adds a pipeline of your own, so that `DiffusionPipeline.fromPretrained` loads checkpoints whose `model_index.json` names its class.
 * @throws DejaDitError INVALID_ARGUMENT if a class name is taken
 * @example
 * declare const somePipeline: Parameters<typeof registerPipeline>[0]; // of definePipeline
 * registerPipeline(somePipeline);
 */
export function registerPipeline(pipeline: PipelineClass): void {
  const taken = pipeline.classNames.find((className) => pipelines.has(className));
  if (taken !== undefined)
    throw new DejaDitError('INVALID_ARGUMENT', 'a pipeline of this name is registered already', { path: taken });
  for (const className of pipeline.classNames) pipelines.set(className, async () => pipeline);
}

/**
 * Class names of the pipelines that `DiffusionPipeline.fromPretrained` loads, your own included.
 * @example
 * supportedPipelines().includes('FluxPipeline'); // true
 */
export function supportedPipelines(): string[] {
  return [...pipelines.keys()];
}

/** The pipeline that loads checkpoints of a class; undefined if there is none. */
export async function findPipeline(className: string): Promise<PipelineClass | undefined> {
  return pipelines.get(className)?.();
}
