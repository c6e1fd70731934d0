/** The autoencoders by class name; a new one is one line here. Each file is loaded when its family is asked for. */
import type { AutoencoderFamily } from './definition.ts';

export const autoencoderFamilies: Readonly<Record<string, () => Promise<AutoencoderFamily>>> = {
  AutoencoderKL: async () => (await import('./kl/kl.ts')).autoencoderKl,
  AutoencoderKLFlux2: async () => (await import('./kl/kl.ts')).autoencoderKlFlux2,
  AutoencoderTiny: async () => (await import('./tiny/tiny.ts')).autoencoderTiny,
  AutoencoderDC: async () => (await import('./dc/dc.ts')).autoencoderDc,
  AutoencoderKLCogVideoX: async () => (await import('./cogvideox/cogvideox.ts')).autoencoderKlCogVideoX,
  AutoencoderKLHunyuanImage: async () => (await import('./hunyuanimage/hunyuanimage.ts')).autoencoderKlHunyuanImage,
  AutoencoderKLHunyuanVideo: async () => (await import('./hunyuanvideo/hunyuanvideo.ts')).autoencoderKlHunyuanVideo,
  AutoencoderKLHunyuanVideo15: async () =>
    (await import('./hunyuanvideo/hunyuanvideo15.ts')).autoencoderKlHunyuanVideo15,
  AutoencoderKLLTXVideo: async () => (await import('./ltx/ltx.ts')).autoencoderKlLtx,
  AutoencoderKLMochi: async () => (await import('./mochi/mochi.ts')).autoencoderKlMochi,
  AutoencoderKLQwenImage: async () => (await import('./wan/wan.ts')).autoencoderKlQwenImage,
  AutoencoderKLQwenImage21: async () => (await import('./wan/wan.ts')).autoencoderKlQwenImage21,
  AutoencoderKLWan: async () => (await import('./wan/wan.ts')).autoencoderKlWan,
};
