import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('HiDreamImagePipeline', () => {
  itReproducesDiffusers('hidream_image');
});
