/** Pipelines that start from an image, and the prompts of those that were recorded with embeddings so far. */
import { describe } from 'vitest';
import { itReproducesDiffusers } from './testing/recorded.ts';

describe('StableDiffusion3Img2ImgPipeline', () => {
  itReproducesDiffusers('sd3_img2img');
});

describe('QwenImagePipeline', () => {
  itReproducesDiffusers('qwenimage_text');
});

describe('QwenImageImg2ImgPipeline', () => {
  itReproducesDiffusers('qwenimage_img2img');
});

describe('ZImageImg2ImgPipeline', () => {
  itReproducesDiffusers('zimage_img2img');
});
