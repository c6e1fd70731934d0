import { describe } from 'vitest';
import { itMatchesTransformers } from './testing/parity.ts';

describe('LlamaModel', () => itMatchesTransformers('llama'));
describe('LlamaModel with Llama 3.1 positions', () => itMatchesTransformers('llama31_ropescaled'));
describe('MistralModel', () => itMatchesTransformers('mistral'));
describe('Qwen2Model', () => itMatchesTransformers('qwen2'));
describe('Qwen3Model', () => itMatchesTransformers('qwen3'));
describe('Gemma2Model', () => itMatchesTransformers('gemma2'));
describe('GlmModel', () => itMatchesTransformers('glm'));
describe('LlamaForCausalLM, linear scaling, biases, left padding', () => itMatchesTransformers('llama_linear'));
describe('MistralModel, sliding window, left padding', () => itMatchesTransformers('mistral_window'));
describe('Mistral3ForConditionalGeneration', () => itMatchesTransformers('mistral3'));
describe('Qwen2ForCausalLM, sliding window in some layers', () => itMatchesTransformers('qwen2_window'));
describe('Qwen2_5_VLForConditionalGeneration, left padding', () => itMatchesTransformers('qwen2_5_vl'));
describe('T5GemmaEncoder', () => itMatchesTransformers('t5gemma_encoder', 1e-5));
