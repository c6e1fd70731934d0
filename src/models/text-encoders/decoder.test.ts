import { describe, expect, it } from 'vitest';
import { ConfigReader } from '../config-reader.ts';
import { parseDecoderConfig } from './decoder-config.ts';
import { decoderFamilies } from './decoder-families.ts';
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
describe('Ministral3Model, YaRN, texts longer than the context', () => itMatchesTransformers('ministral3_yarn'));
describe('Qwen2ForCausalLM, sliding window in some layers', () => itMatchesTransformers('qwen2_window'));
describe('Qwen2_5_VLForConditionalGeneration, left padding', () => itMatchesTransformers('qwen2_5_vl'));
describe('T5GemmaEncoder', () => itMatchesTransformers('t5gemma_encoder', 1e-5));

it('asks for the axes of positions of pictures only where there are pictures', () => {
  const family = decoderFamilies.find(({ classNames }) => classNames.includes('Qwen2_5_VLForConditionalGeneration'))!;
  const text = { hidden_size: 32, num_attention_heads: 2, num_key_value_heads: 2, num_hidden_layers: 1 };
  const read = (config: object) => parseDecoderConfig(new ConfigReader({ ...text, ...config }, 'config.json'), family);
  expect(read({}).vision).toBeUndefined();
  expect(() => read({ vision_config: { out_hidden_size: 32 } })).toThrow(
    "'mrope_section' is [16,24,24], expected a sum of 8",
  );
});
