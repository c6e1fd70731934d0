import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('WanImageToVideoPipeline with what CLIP sees', () => {
  itReproducesDiffusers('wan_i2v');
});

describe('WanImageToVideoPipeline with two experts and a last image', () => {
  itReproducesDiffusers('wan_i2v_22');
});

describe('WanImageToVideoPipeline whose first frame is given', () => {
  itReproducesDiffusers('wan_ti2v_5b');
});
