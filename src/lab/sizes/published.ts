/**
 * Published models: what their `config.json` says beside the defaults of Diffusers' class, and a call at the size that they are published
 * with. Facts of the model cards and of Diffusers 0.42; of models that were released with the class, its defaults are theirs.
 */
import type { ForwardInputs } from '../../models/inputs.ts';
import { floatTensor, intTensor, type Shape, type Tensor } from '../../tensor/tensor.ts';

export interface PublishedModel {
  name: string;
  /** Diffusers' class. */
  family: string;
  config: Readonly<Record<string, unknown>>;
  /** Shapes of weights that no config tells of. */
  weights?: Readonly<Record<string, Shape>>;
  call: ModelCall;
  /** A smaller call, for a processor, where one at the usual size takes minutes. */
  smaller?: ModelCall;
}

export interface ModelCall {
  /** In words: pixels, frames, tokens of text. */
  at: string;
  /** Sizes by the names that the family's inputs give them; default 1. */
  sizes?: Readonly<Record<string, number>>;
  /** Inputs that must not be ones throughout. */
  inputs?: ForwardInputs;
}

const zeros = (...shape: number[]): Tensor =>
  floatTensor(new Float32Array(shape.reduce((n, dim) => n * dim, 1)), shape);
const axis = (count: number) => intTensor(Array.from({ length: count }, (_, i) => i));

/** 1024² pixels: latents of 8 pixels each, or tokens of 16. */
const square = { height: 128, width: 128 };
const tokens = (text: number) => ({ image_tokens: 4096, text_tokens: text });
/** 81 frames of 832 x 480 pixels, in latents of 4 frames and 8 pixels. */
const clip = { frames: 21, height: 60, width: 104 };
/** 5 frames of 480 x 272. */
const shortClip = { frames: 2, height: 34, width: 60 };

/** LTX-2's 121 frames of 768 x 512 pixels with their sound. */
const ltx2Clip = { num_frames: 16, height: 16, width: 24, audio_num_frames: 126 };
/** MiniMax-H3: rows of text, then video, then sound. */
const h3Rows = { text: 512, video: 16 * 30 * 52, audio: 128 };
const h3Total = h3Rows.text + h3Rows.video + h3Rows.audio;
const h3Range = (from: number, count: number) => intTensor(Array.from({ length: count }, (_, i) => from + i));

export const publishedModels: readonly PublishedModel[] = [
  {
    name: 'FLUX.1 dev',
    family: 'FluxTransformer2DModel',
    config: { guidance_embeds: true },
    call: { at: '1024², 512 text', sizes: tokens(512) },
  },
  {
    name: 'FLUX.2 dev',
    family: 'Flux2Transformer2DModel',
    config: {},
    call: { at: '1024², 512 text', sizes: tokens(512) },
  },
  {
    name: 'FLUX.2 klein 4B',
    family: 'Flux2Transformer2DModel',
    config: {
      num_layers: 5,
      num_single_layers: 20,
      num_attention_heads: 24,
      joint_attention_dim: 7680,
      guidance_embeds: false,
    },
    call: { at: '1024², 512 text', sizes: tokens(512) },
  },
  {
    name: 'FLUX.3 klein',
    family: 'Flux3Transformer2DModel',
    config: {},
    call: { at: '1024², 160 text', sizes: tokens(160) },
  },
  {
    name: 'Chroma1-HD',
    family: 'ChromaTransformer2DModel',
    config: {},
    call: { at: '1024², 512 text', sizes: tokens(512) },
  },
  {
    name: 'Bria 3.2',
    family: 'BriaTransformer2DModel',
    config: { num_layers: 8, num_single_layers: 28, in_channels: 16 },
    call: { at: '1024², 128 text', sizes: tokens(128) },
  },
  {
    name: 'Bria FIBO',
    family: 'BriaFiboTransformer2DModel',
    config: { num_layers: 8, num_single_layers: 38, in_channels: 48 },
    call: {
      at: '1024², 512 text',
      sizes: tokens(512),
      inputs: { text_encoder_layers: zeros(1, 512, 46, 2048) },
    },
  },
  {
    name: 'LongCat-Image',
    family: 'LongCatImageTransformer2DModel',
    config: { num_layers: 10, num_single_layers: 20 },
    call: { at: '1024², 512 text', sizes: tokens(512) },
  },
  {
    name: 'Ovis-Image 7B',
    family: 'OvisImageTransformer2DModel',
    config: {},
    call: { at: '1024², 256 text', sizes: tokens(256) },
  },
  {
    name: 'Krea 2',
    family: 'Krea2Transformer2DModel',
    config: {},
    call: { at: '1024², 64 text', sizes: { ...tokens(64), tokens: 4160 } },
  },
  {
    name: 'Qwen-Image',
    family: 'QwenImageTransformer2DModel',
    config: {},
    call: { at: '1024², 128 text', sizes: tokens(128), inputs: { img_shapes: [[1, 64, 64]] } },
  },
  {
    name: 'Qwen-Image 2.1',
    family: 'QwenImage21Transformer2DModel',
    config: {},
    call: {
      at: '1024², 64 text',
      sizes: tokens(64),
      inputs: {
        img_shapes: [[1, 64, 64]],
        img_mask: floatTensor([...Array<number>(64).fill(0), ...Array<number>(1024).fill(1)], [1, 1088]),
      },
    },
  },
  {
    name: 'Z-Image',
    family: 'ZImageTransformer2DModel',
    config: {},
    call: { at: '1024², 128 text', inputs: { x: [zeros(16, 1, 128, 128)], cap_feats: [zeros(128, 2560)] } },
  },
  {
    name: 'ERNIE-Image',
    family: 'ErnieImageTransformer2DModel',
    config: { hidden_size: 4096, num_attention_heads: 32, ffn_hidden_size: 12288, num_layers: 36, text_in_dim: 3072 },
    call: {
      at: '1024², 64 text',
      sizes: { height: 64, width: 64, text_tokens: 64 },
      inputs: { text_lens: intTensor([64]) },
    },
  },
  {
    name: 'GLM-Image',
    family: 'GlmImageTransformer2DModel',
    config: { num_attention_heads: 32, attention_head_dim: 128 },
    call: {
      at: '1024², 64 text',
      sizes: { ...square, ...tokens(64) },
      inputs: { prior_token_drop: floatTensor([0]) },
    },
  },
  {
    name: 'HunyuanImage 2.1',
    family: 'HunyuanImageTransformer2DModel',
    config: {},
    call: { at: '2048², 256 text', sizes: { height: 64, width: 64, text_tokens: 256 } },
  },
  {
    name: 'HiDream-I1',
    family: 'HiDreamImageTransformer2DModel',
    config: {
      in_channels: 16,
      patch_size: 2,
      max_resolution: [128, 128],
      axes_dims_rope: [64, 32, 32],
      num_attention_heads: 20,
      attention_head_dim: 128,
      num_layers: 16,
      num_single_layers: 32,
      caption_channels: [4096, 4096],
      text_emb_dim: 2048,
      num_routed_experts: 4,
      num_activated_experts: 2,
    },
    call: { at: '1024², 128 text twice', sizes: { ...square, t5_tokens: 128, llama_layers: 48, llama_tokens: 128 } },
  },
  {
    name: 'Ideogram 4',
    family: 'Ideogram4Transformer2DModel',
    config: {},
    call: { at: '512², 256 text', sizes: { tokens: 1280 } },
  },
  {
    name: 'SD3 medium',
    family: 'SD3Transformer2DModel',
    config: {
      num_layers: 24,
      num_attention_heads: 24,
      caption_projection_dim: 1536,
      pos_embed_max_size: 192,
      out_channels: 16,
    },
    call: { at: '1024², 333 text', sizes: { ...square, text_tokens: 333 } },
  },
  {
    name: 'SD3.5 large',
    family: 'SD3Transformer2DModel',
    config: {
      num_layers: 38,
      num_attention_heads: 38,
      caption_projection_dim: 2432,
      pos_embed_max_size: 192,
      out_channels: 16,
      qk_norm: 'rms_norm',
    },
    call: { at: '1024², 333 text', sizes: { ...square, text_tokens: 333 } },
  },
  {
    name: 'AuraFlow 0.3',
    family: 'AuraFlowTransformer2DModel',
    config: { pos_embed_max_size: 9216 },
    call: { at: '1024², 256 text', sizes: { ...square, text_tokens: 256 } },
  },
  {
    name: 'Lumina Image 2.0',
    family: 'Lumina2Transformer2DModel',
    config: { cap_feat_dim: 2304, in_channels: 16 },
    call: { at: '1024², 128 text', sizes: { ...square, text_tokens: 128 } },
    smaller: { at: '512², 128 text', sizes: { height: 64, width: 64, text_tokens: 128 } },
  },
  {
    name: 'CogView4 6B',
    family: 'CogView4Transformer2DModel',
    config: { num_layers: 28, num_attention_heads: 32, attention_head_dim: 128 },
    call: { at: '1024², 128 text', sizes: { ...square, text_tokens: 128 } },
  },
  {
    name: 'Sana 1.6B',
    family: 'SanaTransformer2DModel',
    config: {},
    call: { at: '1024², 300 text', sizes: { height: 32, width: 32, text_tokens: 300 } },
  },
  {
    name: 'Sana 0.6B',
    family: 'SanaTransformer2DModel',
    config: {
      num_layers: 28,
      num_attention_heads: 36,
      num_cross_attention_heads: 16,
      cross_attention_head_dim: 72,
      cross_attention_dim: 1152,
    },
    call: { at: '1024², 300 text', sizes: { height: 32, width: 32, text_tokens: 300 } },
  },
  {
    name: 'PixArt-α',
    family: 'PixArtTransformer2DModel',
    config: { sample_size: 128, caption_channels: 4096, interpolation_scale: 2 },
    call: {
      at: '1024², 120 text',
      sizes: { ...square, text_tokens: 120 },
      inputs: { added_cond_kwargs: { resolution: zeros(1, 2), aspect_ratio: zeros(1, 1) } },
    },
    smaller: {
      at: '512², 120 text',
      sizes: { height: 64, width: 64, text_tokens: 120 },
      inputs: { added_cond_kwargs: { resolution: zeros(1, 2), aspect_ratio: zeros(1, 1) } },
    },
  },
  {
    name: 'PixArt-Σ',
    family: 'PixArtTransformer2DModel',
    config: { sample_size: 128, caption_channels: 4096, interpolation_scale: 2, use_additional_conditions: false },
    call: { at: '1024², 300 text', sizes: { ...square, text_tokens: 300 } },
    smaller: { at: '512², 300 text', sizes: { height: 64, width: 64, text_tokens: 300 } },
  },
  {
    name: 'PRX 1.3B',
    family: 'PRXTransformer2DModel',
    config: {},
    call: { at: '1024², 256 text', sizes: { height: 128, width: 128, text_tokens: 256 } },
    smaller: { at: '512², 256 text', sizes: { height: 64, width: 64, text_tokens: 256 } },
  },
  {
    name: 'OmniGen',
    family: 'OmniGenTransformer2DModel',
    // The factors turn the tokens; no size depends on them.
    config: { rope_scaling: { short_factor: Array(48).fill(1), long_factor: Array(48).fill(1) } },
    call: {
      at: '512², 64 text',
      sizes: { height: 64, width: 64, prompt_tokens: 64, tokens: 1089, positions: 1 },
      inputs: { input_img_latents: [], input_image_sizes: {} },
    },
  },
  {
    name: 'Stable Diffusion 1.5',
    family: 'UNet2DConditionModel',
    config: { cross_attention_dim: 768, sample_size: 64 },
    call: { at: '512², 77 text', sizes: { height: 64, width: 64, text_tokens: 77 } },
  },
  {
    name: 'Stable Diffusion XL',
    family: 'UNet2DConditionModel',
    config: {
      addition_embed_type: 'text_time',
      addition_time_embed_dim: 256,
      attention_head_dim: [5, 10, 20],
      block_out_channels: [320, 640, 1280],
      cross_attention_dim: 2048,
      down_block_types: ['DownBlock2D', 'CrossAttnDownBlock2D', 'CrossAttnDownBlock2D'],
      projection_class_embeddings_input_dim: 2816,
      sample_size: 128,
      transformer_layers_per_block: [1, 2, 10],
      up_block_types: ['CrossAttnUpBlock2D', 'CrossAttnUpBlock2D', 'UpBlock2D'],
      use_linear_projection: true,
    },
    call: {
      at: '1024², 77 text',
      sizes: { ...square, text_tokens: 77 },
      inputs: { added_cond_kwargs: { text_embeds: zeros(1, 1280), time_ids: zeros(1, 6) } },
    },
    smaller: {
      at: '512², 77 text',
      sizes: { height: 64, width: 64, text_tokens: 77 },
      inputs: { added_cond_kwargs: { text_embeds: zeros(1, 1280), time_ids: zeros(1, 6) } },
    },
  },
  {
    name: 'DiT-XL/2',
    family: 'DiTTransformer2DModel',
    config: {},
    call: { at: '256²', sizes: { size: 32 } },
  },
  {
    name: 'HunyuanDiT 1.2',
    family: 'HunyuanDiT2DModel',
    config: {
      num_layers: 40,
      hidden_size: 1408,
      mlp_ratio: 4.3637,
      pooled_projection_dim: 1024,
      cross_attention_dim: 1024,
      cross_attention_dim_t5: 2048,
      in_channels: 4,
      learn_sigma: true,
      patch_size: 2,
      sample_size: 128,
      activation_fn: 'gelu-approximate',
      attention_head_dim: 88,
      num_attention_heads: 16,
      text_len: 77,
      text_len_t5: 256,
      use_style_cond_and_image_meta_size: false,
    },
    call: { at: '1024², 333 text', sizes: square },
    smaller: { at: '512², 333 text', sizes: { height: 64, width: 64 } },
  },
  {
    name: 'Anima (Cosmos Predict2 2B)',
    family: 'CosmosTransformer3DModel',
    config: {
      in_channels: 16,
      num_attention_heads: 16,
      num_layers: 28,
      extra_pos_embed_type: null,
      rope_scale: [1, 4, 4],
    },
    call: {
      at: '1024², 512 text',
      sizes: { ...square, frames: 1, channels: 16, text_tokens: 512, mask_height: 1024, mask_width: 1024 },
    },
    smaller: {
      at: '512², 512 text',
      sizes: { height: 64, width: 64, frames: 1, channels: 16, text_tokens: 512, mask_height: 512, mask_width: 512 },
    },
  },
  {
    name: "Anima's text conditioner",
    family: 'AnimaTextConditioner',
    config: {},
    call: { at: '64 text', sizes: { source_tokens: 64, target_tokens: 64 } },
  },
  {
    name: 'Stable Audio Open',
    family: 'StableAudioDiTModel',
    config: {},
    call: { at: '47 s', sizes: { length: 1024, text_tokens: 130 } },
  },
  {
    name: 'Wan 2.1 1.3B',
    family: 'WanTransformer3DModel',
    config: { num_attention_heads: 12, num_layers: 30, ffn_dim: 8960 },
    call: { at: '832 x 480, 81 frames', sizes: { ...clip, text_tokens: 512 } },
    smaller: { at: '480 x 272, 5 frames', sizes: { ...shortClip, text_tokens: 512 } },
  },
  {
    name: 'Wan 2.1 14B',
    family: 'WanTransformer3DModel',
    config: {},
    call: { at: '832 x 480, 81 frames', sizes: { ...clip, text_tokens: 512 } },
  },
  {
    name: 'SkyReels-V2 1.3B',
    family: 'SkyReelsV2Transformer3DModel',
    config: { num_attention_heads: 12, num_layers: 30, ffn_dim: 8960 },
    call: { at: '832 x 480, 81 frames', sizes: { ...clip, text_tokens: 512 } },
    smaller: { at: '480 x 272, 5 frames', sizes: { ...shortClip, text_tokens: 512 } },
  },
  {
    name: 'HunyuanVideo',
    family: 'HunyuanVideoTransformer3DModel',
    config: {},
    call: { at: '832 x 480, 81 frames', sizes: { ...clip, text_tokens: 256 } },
  },
  {
    name: 'HunyuanVideo 1.5',
    family: 'HunyuanVideo15Transformer3DModel',
    config: {},
    weights: { 'context_embedder_2.linear_1.weight': [2048, 1472] },
    call: {
      at: '832 x 480, 81 frames',
      sizes: { frames: 21, height: 30, width: 52, text_tokens: 256, glyph_tokens: 64, image_tokens: 64 },
    },
  },
  {
    name: 'LTX-Video 2B',
    family: 'LTXVideoTransformer3DModel',
    config: {},
    call: {
      at: '768 x 512, 121 frames',
      sizes: { tokens: 6144, text_tokens: 128 },
      inputs: { num_frames: 16, height: 16, width: 24 },
    },
    smaller: {
      at: '768 x 512, 9 frames',
      sizes: { tokens: 768, text_tokens: 128 },
      inputs: { num_frames: 2, height: 16, width: 24 },
    },
  },
  {
    name: 'LTX-2',
    family: 'LTX2VideoTransformer3DModel',
    config: { rope_type: 'split' },
    call: {
      at: '768 x 512, 121 frames, 5 s',
      sizes: { tokens: 6144, audio_tokens: 126, text_tokens: 256, audio_text_tokens: 256 },
      inputs: ltx2Clip,
    },
  },
  {
    name: 'CogVideoX 2B',
    family: 'CogVideoXTransformer3DModel',
    config: {},
    call: { at: '720 x 480, 49 frames', sizes: { frames: 13, height: 60, width: 90, text_tokens: 226 } },
    smaller: { at: '480 x 320, 5 frames', sizes: { frames: 2, height: 40, width: 60, text_tokens: 226 } },
  },
  {
    name: 'CogVideoX 5B',
    family: 'CogVideoXTransformer3DModel',
    config: { num_attention_heads: 48, num_layers: 42, use_rotary_positional_embeddings: true },
    call: { at: '720 x 480, 49 frames', sizes: { frames: 13, height: 60, width: 90, text_tokens: 226 } },
  },
  {
    name: 'Mochi 1',
    family: 'MochiTransformer3DModel',
    config: {},
    call: { at: '848 x 480, 19 frames', sizes: { frames: 4, height: 60, width: 106, text_tokens: 256 } },
  },
  {
    name: 'Allegro',
    family: 'AllegroTransformer3DModel',
    config: {},
    call: { at: '1280 x 720, 22 frames', sizes: { frames: 6, height: 90, width: 160, text_tokens: 512 } },
    smaller: { at: '320 x 192, 8 frames', sizes: { frames: 2, height: 24, width: 40, text_tokens: 512 } },
  },
  {
    name: 'Kandinsky 5.0 Lite',
    family: 'Kandinsky5Transformer3DModel',
    config: {
      in_visual_dim: 16,
      out_visual_dim: 16,
      model_dim: 1792,
      ff_dim: 7168,
      num_visual_blocks: 32,
      axes_dims: [16, 24, 24],
    },
    call: {
      at: '832 x 480, 81 frames',
      sizes: { ...clip, text_tokens: 256 },
      inputs: { visual_rope_pos: [axis(21), axis(30), axis(52)], scale_factor: [1, 2, 2] },
    },
    smaller: {
      at: '480 x 272, 5 frames',
      sizes: { ...shortClip, text_tokens: 256 },
      inputs: { visual_rope_pos: [axis(2), axis(17), axis(30)], scale_factor: [1, 2, 2] },
    },
  },
  {
    name: 'Kandinsky 6',
    family: 'Kandinsky6Transformer3DModel',
    config: { ca_rope: true, cross_gates: true, fix_modulation: true, text_token_padding: true },
    call: { at: '832 x 480, 81 frames, silent', sizes: { ...clip, text_tokens: 256 } },
  },
  {
    name: 'MiniMax-H3',
    family: 'MiniMaxH3Transformer3DModel',
    config: {},
    call: {
      at: `${h3Total} rows`,
      sizes: {
        video_tokens: h3Rows.video,
        audio_tokens: h3Rows.audio,
        text_tokens: h3Rows.text,
        times: 3,
        rows: h3Total,
      },
      inputs: {
        timestep_indices: intTensor(Array<number>(h3Total).fill(0)),
        token_tags: intTensor([
          ...Array<number>(h3Rows.text).fill(1),
          ...Array<number>(h3Rows.video).fill(0),
          ...Array<number>(h3Rows.audio).fill(2),
        ]),
        text_indices: h3Range(0, h3Rows.text),
        video_indices: h3Range(h3Rows.text, h3Rows.video),
        audio_indices: h3Range(h3Rows.text + h3Rows.video, h3Rows.audio),
      },
    },
  },
];
