import { describe } from 'vitest';
import { itMatchesTransformers } from './testing/parity.ts';

describe('T5EncoderModel, gated GELU', () => itMatchesTransformers('t5_v1_1'));
describe('T5EncoderModel, ReLU', () => itMatchesTransformers('t5_relu'));
describe('T5EncoderModel, 70 tokens', () => itMatchesTransformers('t5_long'));
describe('UMT5EncoderModel', () => itMatchesTransformers('umt5'));
