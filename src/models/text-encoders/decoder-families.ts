/** The decoder-only language models: what each has that Llama has not, and its config defaults in Transformers. */
import type { DecoderFamily } from './decoder-config.ts';
import { qwen25Vision } from './vision/qwen2-5-vision.ts';
import { qwen3Vision } from './vision/qwen3-vision.ts';

const llama: DecoderFamily = {
  classNames: ['LlamaModel', 'LlamaForCausalLM'],
  defaults: { vocabulary: 32000, width: 4096, inner: 11008, layers: 32, heads: 32, epsilon: 1e-6 },
  projectionBias: { default: false },
  outputBias: true,
  mlpBias: true,
};

/** Attention within a sliding window in every layer (arXiv 2310.06825). */
const mistral: DecoderFamily = {
  classNames: ['MistralModel', 'MistralForCausalLM'],
  defaults: {
    vocabulary: 32000,
    width: 4096,
    inner: 14336,
    layers: 32,
    heads: 32,
    keyValueHeads: 8,
    epsilon: 1e-6,
    slidingWindow: 4096,
  },
  slidingLayers: 'all',
};

/** Mistral Small with a vision tower, the text encoder of FLUX.2. */
const mistral3: DecoderFamily = {
  classNames: ['Mistral3Model', 'Mistral3ForConditionalGeneration'],
  defaults: {
    vocabulary: 131072,
    width: 5120,
    inner: 32768,
    layers: 40,
    heads: 32,
    keyValueHeads: 8,
    headDim: 128,
    epsilon: 1e-5,
  },
  rope: { theta: 1e9 },
  slidingLayers: 'all',
};

/** The text model of `Mistral3Model` in ERNIE-Image's encoder, alone; its positions are stretched by YaRN. */
const ministral3: DecoderFamily = {
  classNames: ['Ministral3Model', 'Ministral3ForCausalLM'],
  defaults: {
    vocabulary: 131072,
    width: 4096,
    inner: 14336,
    layers: 34,
    heads: 32,
    keyValueHeads: 8,
    headDim: 128,
    epsilon: 1e-5,
  },
  rope: { theta: 1e6 },
  slidingLayers: 'all',
};

/** Biases on queries, keys and values (arXiv 2407.10671). */
const qwen2: DecoderFamily = {
  classNames: ['Qwen2Model', 'Qwen2ForCausalLM'],
  defaults: {
    vocabulary: 151936,
    width: 4096,
    inner: 22016,
    layers: 32,
    heads: 32,
    keyValueHeads: 32,
    epsilon: 1e-6,
    slidingWindow: 4096,
  },
  slidingLayers: 'from max_window_layers',
  projectionBias: true,
};

/** Qwen2.5-VL (arXiv 2502.13923), the text encoder of Qwen-Image and HunyuanImage. */
const qwen25Vl: DecoderFamily = {
  classNames: ['Qwen2_5_VLTextModel', 'Qwen2_5_VLModel', 'Qwen2_5_VLForConditionalGeneration'],
  defaults: {
    vocabulary: 152064,
    width: 8192,
    inner: 29568,
    layers: 80,
    heads: 64,
    keyValueHeads: 8,
    epsilon: 1e-5,
    slidingWindow: 4096,
  },
  rope: { theta: 1e6 },
  slidingLayers: 'from max_window_layers',
  projectionBias: true,
  vision: { tower: qwen25Vision, positions: 'sections' },
};

/** Norms on queries and keys instead of biases (arXiv 2505.09388); the text encoder of Z-Image. */
const qwen3: DecoderFamily = {
  classNames: ['Qwen3Model', 'Qwen3ForCausalLM'],
  defaults: { ...qwen2.defaults, headDim: 128 },
  slidingLayers: 'from max_window_layers',
  queryKeyNorm: true,
  projectionBias: { default: false },
  outputBias: true,
};

/** Qwen3 that also sees (arXiv 2511.21631), the text encoder of Krea 2, Qwen-Image 2.1 and FLUX.3. */
const qwen3Vl: DecoderFamily = {
  classNames: ['Qwen3VLTextModel', 'Qwen3VLModel', 'Qwen3VLForConditionalGeneration'],
  defaults: {
    vocabulary: 151936,
    width: 4096,
    inner: 22016,
    layers: 32,
    heads: 32,
    keyValueHeads: 32,
    headDim: 128,
    epsilon: 1e-6,
  },
  rope: { theta: 5e5 },
  queryKeyNorm: true,
  projectionBias: { default: false },
  outputBias: true,
  vision: { tower: qwen3Vision, positions: 'interleaved' },
};

/** No positions in every fourth layer (Hugging Face, 2025); the text encoder of Bria FIBO. */
const smolLm3: DecoderFamily = {
  classNames: ['SmolLM3Model', 'SmolLM3ForCausalLM'],
  defaults: {
    vocabulary: 128256,
    width: 2048,
    inner: 11008,
    layers: 36,
    heads: 16,
    keyValueHeads: 4,
    epsilon: 1e-6,
  },
  rope: { theta: 2e6 },
  slidingLayers: 'without positions',
  layersWithoutPositions: true,
  projectionBias: { default: false },
  outputBias: true,
  mlpBias: true,
};

/** Capped scores, a window in every other layer, norms around each part (arXiv 2408.00118); for Lumina 2 and Sana. */
const gemma2: DecoderFamily = {
  classNames: ['Gemma2Model', 'Gemma2ForCausalLM'],
  defaults: {
    vocabulary: 256000,
    width: 2304,
    inner: 9216,
    layers: 26,
    heads: 8,
    keyValueHeads: 4,
    headDim: 256,
    epsilon: 1e-6,
    slidingWindow: 4096,
  },
  slidingLayers: 'even',
  projectionBias: { default: false },
  outputBias: true,
  gemma: true,
};

/** The encoder of a T5 made of Gemma 2's layers (arXiv 2504.06225), for PRX. */
const t5Gemma: DecoderFamily = {
  ...gemma2,
  classNames: ['T5GemmaEncoder'],
  bidirectional: true,
  attentionNorms: ['pre_self_attn_layernorm', 'post_self_attn_layernorm'],
};

/** Half of every head rotated, in interleaved pairs (arXiv 2406.12793); the text encoder of CogView4. */
const glm: DecoderFamily = {
  classNames: ['GlmModel', 'GlmForCausalLM'],
  defaults: {
    vocabulary: 151552,
    width: 4096,
    inner: 13696,
    layers: 40,
    heads: 32,
    keyValueHeads: 2,
    headDim: 128,
    epsilon: 1.5625e-7,
  },
  rope: { rotaryFactor: 0.5 },
  interleavedRope: true,
  projectionBias: { default: true },
  fusedGate: true,
};

export const decoderFamilies: readonly DecoderFamily[] = [
  llama,
  mistral,
  mistral3,
  ministral3,
  qwen2,
  qwen25Vl,
  qwen3,
  qwen3Vl,
  smolLm3,
  gemma2,
  t5Gemma,
  glm,
];
