import { describe } from 'vitest';
import { itMatchesTransformers } from './testing/parity.ts';

describe('CLIPTextModel', () => itMatchesTransformers('clip_l'));
describe('CLIPTextModel with the legacy end token', () => itMatchesTransformers('clip_l_legacy_eos2'));
describe('CLIPTextModelWithProjection', () => itMatchesTransformers('clip_g_proj'));
