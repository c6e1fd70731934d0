import { describe } from 'vitest';
import { itMatchesTransformers } from './testing/parity.ts';

describe('LlamaModel', () => itMatchesTransformers('llama'));
describe('LlamaModel with Llama 3.1 positions', () => itMatchesTransformers('llama31_ropescaled'));
describe('MistralModel', () => itMatchesTransformers('mistral'));
describe('Qwen2Model', () => itMatchesTransformers('qwen2'));
describe('Qwen3Model', () => itMatchesTransformers('qwen3'));
describe('Gemma2Model', () => itMatchesTransformers('gemma2'));
describe('GlmModel', () => itMatchesTransformers('glm'));
