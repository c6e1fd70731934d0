import { describe } from 'vitest';
import { itReproducesDiffusers } from '../testing/recorded.ts';

describe('ErnieImagePipeline', () => {
  itReproducesDiffusers('ernie_image');
});
