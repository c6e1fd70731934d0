import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('ChromaPipeline', () => {
  itReproducesDiffusers('chroma');
});

describe('ChromaImg2ImgPipeline', () => {
  itReproducesDiffusers('chroma_img2img');
});
