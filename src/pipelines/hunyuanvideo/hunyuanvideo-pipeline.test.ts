import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('HunyuanVideoPipeline', () => {
  itReproducesDiffusers('hunyuanvideo');
});
