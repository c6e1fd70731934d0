/** The transformer families by class name; a new one is one line here. Each file is loaded when its family is asked for. */
import type { TransformerFamily } from '../definition.ts';

export const transformerFamilies: Readonly<Record<string, () => Promise<TransformerFamily>>> = {
  AuraFlowTransformer2DModel: async () => (await import('./auraflow/auraflow.ts')).auraFlowTransformer,
  ChromaTransformer2DModel: async () => (await import('./chroma/chroma.ts')).chromaTransformer,
  CogVideoXTransformer3DModel: async () => (await import('./cogvideox/cogvideox.ts')).cogVideoXTransformer,
  CogView4Transformer2DModel: async () => (await import('./cogview4/cogview4.ts')).cogView4Transformer,
  DiTTransformer2DModel: async () => (await import('./dit/dit.ts')).ditTransformer,
  Flux2Transformer2DModel: async () => (await import('./flux2/flux2.ts')).flux2Transformer,
  FluxTransformer2DModel: async () => (await import('./flux/flux.ts')).fluxTransformer,
  HunyuanImageTransformer2DModel: async () => (await import('./hunyuanimage/hunyuanimage.ts')).hunyuanImageTransformer,
  HunyuanVideoTransformer3DModel: async () => (await import('./hunyuanvideo/hunyuanvideo.ts')).hunyuanVideoTransformer,
  LTXVideoTransformer3DModel: async () => (await import('./ltx/ltx.ts')).ltxTransformer,
  Lumina2Transformer2DModel: async () => (await import('./lumina2/lumina2.ts')).lumina2Transformer,
  OvisImageTransformer2DModel: async () => (await import('./ovisimage/ovisimage.ts')).ovisImageTransformer,
  PixArtTransformer2DModel: async () => (await import('./pixart/pixart.ts')).pixartTransformer,
  PRXTransformer2DModel: async () => (await import('./prx/prx.ts')).prxTransformer,
  QwenImageTransformer2DModel: async () => (await import('./qwenimage/qwenimage.ts')).qwenImageTransformer,
  SanaTransformer2DModel: async () => (await import('./sana/sana.ts')).sanaTransformer,
  SD3Transformer2DModel: async () => (await import('./sd3/sd3.ts')).sd3Transformer,
  Transformer2DModel: async () => (await import('./legacy-transformer-2d.ts')).legacyTransformer2D,
  UNet2DConditionModel: async () => (await import('./unet2d/unet2d.ts')).unet2D,
  WanTransformer3DModel: async () => (await import('./wan/wan.ts')).wanTransformer,
  ZImageTransformer2DModel: async () => (await import('./zimage/zimage.ts')).zImageTransformer,
};
